"""The methods of `Producer` that read prices and balances."""

from __future__ import annotations

from decimal import Decimal

from producer.billing import Account, Billing, Quote
from producer.money.price_changes import PricePreview
from producer.money.price_key import PriceKey
from shared.catalog import ImageRequest
from shared.settings import ChargeBasis


class MoneyMethods:
    """The methods of `producer.Producer` that read prices and balances."""

    billing: Billing
    """Accounts, prices and the ledger."""
    _charge_basis: ChargeBasis

    async def quote(self, request: ImageRequest) -> Quote:
        """Return the current price of the request, or raise `PriceMissing`."""
        return await self.billing.quote(request)

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
        """Return the account's credits, or raise `AccountNotFound`."""
        return await self.billing.account(account_id)
