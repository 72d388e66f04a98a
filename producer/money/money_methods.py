"""The methods of `Producer` about prices and accounts."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Unpack

from producer.accounts.account import Account
from producer.accounts.account_limits import AccountLimits
from producer.actor import Actor
from producer.billing import Billing, Quote
from producer.money.price_changes import PricePreview
from producer.money.price_key import PriceKey
from producer.orders.order import Order, Priority, PriorityLimit
from producer.waiting.quotes import quote_order
from producer.waiting.wait_estimates import WaitEstimates
from shared.catalog import ImageRequest
from shared.settings import ChargeBasis


class MoneyMethods:
    """The methods of `producer.Producer` that read prices and accounts, and set their limits."""

    billing: Billing
    """Accounts, prices and the ledger."""
    _charge_basis: ChargeBasis

    waiting: WaitEstimates
    """When queued jobs are submitted."""

    async def quote(
        self,
        request: ImageRequest,
        *,
        account_id: str | None = None,
        priority: Priority = "normal",
        run_at: datetime | None = None,
        priority_limit: PriorityLimit | None = None,
    ) -> Quote:
        """Return the current price of the request. With an account, also its available credits and
        when the job would be submitted. Nothing is stored or held.

        `priority`, `run_at` and `priority_limit` are those of an `Order`. Raises `InvalidRequest`,
        `PriceMissing`, `AccountNotFound` and `PriorityNotAllowed`.
        """
        quote = await self.billing.quote(request)
        if account_id is None:
            return quote
        order = Order(
            request=request,
            account_id=account_id,
            priority=priority,
            run_at=run_at,
            priority_limit=priority_limit,
        )
        return await quote_order(quote, order, await self.balance(account_id), self.waiting)

    async def preview_price(
        self,
        model: str,
        task: str,
        quantity: int,
        credits: Decimal | None = None,
        provider_credits: Decimal | None = None,
        *,
        variant: str = "",
    ) -> PricePreview:
        """Return what a change of a price would do, and change nothing. Raises `PriceMissing`.

        None leaves a number as it is.
        """
        key = PriceKey(model, task, quantity, variant)
        return await self.billing.price_changes.preview(
            key, credits, provider_credits, charge_basis=self._charge_basis
        )

    async def balance(self, account_id: str) -> Account:
        """Return the account's credits and limits, or raise `AccountNotFound`."""
        return await self.billing.account(account_id)

    async def set_account_limits(
        self,
        account_id: str,
        *,
        reason: str | None = None,
        actor: Actor | str | None = None,
        **limits: Unpack[AccountLimits],
    ) -> Account:
        """Set the given limits of an account, such as `max_queued_jobs=500`. None is no limit.

        Limits that are not given stay as they are. Who changed which, and why, is in the audit
        entries. Raises `InvalidRequest` with every fault, and `AccountNotFound`.
        """
        return await self.billing.set_account_limits(
            account_id, reason=reason, actor=actor, **limits
        )
