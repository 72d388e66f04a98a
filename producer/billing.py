"""Reads and writes accounts, credits, the ledger and prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Unpack
from uuid import UUID

from producer.accounts.account import Account
from producer.accounts.account_limits import AccountLimits, set_account_limits
from producer.actor import Actor, actor_to_json
from producer.audit_entries import AuditFilter, audit_page
from producer.list_pages import DEFAULT_LIST_LIMIT, PAGE_BYTES, RowPage, read_all_pages
from producer.money.grants import GrantedAccount, debt_error, grant_credits
from producer.money.margins import MarginGroup, read_margin
from producer.money.price_changes import PriceChanges
from producer.money.price_key import AnyPriceKey, PriceKey
from producer.money.refunds import refund_job
from producer.money.statements import (
    Statement,
    read_statement,
    read_statement_csv,
    read_statement_lines,
)
from producer.orders.argument_types import REQUEST_ADVICE, require_type
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.row_dicts import as_dicts
from shared.catalog import ImageRequest
from shared.domain.job import Priority, WaitReason
from shared.errors import (
    AccountNotFound,
    AlreadyExists,
    DatabaseRefused,
)

_NO_DEBT = "an_adjustment_leaves_no_debt"


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of a request if it is enqueued now, and for an account, the expected wait."""

    credits: Decimal
    price_id: int
    """The id of the price version in `pricing_history`."""
    variant: str = ""
    """The variant of the price, such as `2K`."""
    account_id: str | None = None
    """The account that was named. Without one, the fields below are None."""
    priority: Priority | None = None
    available: Decimal | None = None
    """Credits that new jobs of the account may hold."""
    position: int | None = None
    """The position that the job would have. None for a scheduled job."""
    estimated_start_at: datetime | None = None
    """When the job would be submitted. None with a `wait_reason`."""
    expected_wait_seconds: float | None = None
    """From now to `estimated_start_at`."""
    wait_reason: WaitReason | None = None
    """As a job has it."""


class Billing:
    """Reads and writes accounts and prices. Every method may raise `PostgresDown`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.price_changes = PriceChanges(database)
        """Previews, changes and scheduled changes of prices."""

    async def account(self, account_id: str) -> Account:
        """Return the account, or raise `AccountNotFound`."""
        row = await self._database.fetch_row("get_account", account_id)
        if row is None:
            raise AccountNotFound(account_id)
        return Account(**dict(row))

    async def accounts(self, *, after: str | None, limit: int) -> list[Account]:
        """Return accounts by id, those after the id `after`."""
        rows = await self._database.fetch("list_accounts", after, limit)
        return [Account(**dict(row)) for row in rows]

    async def create_account(
        self,
        account_id: str,
        credits: Decimal = Decimal(0),
        *,
        actor: Actor | str | None = None,
    ) -> Account:
        """Create an account and grant it `credits`, in one statement.

        Raises `AlreadyExists`.
        """
        try:
            row = await self._database.fetch_row(
                "create_account", account_id, credits, actor_to_json(actor)
            )
        except DatabaseRefused as error:
            if error.constraint == _NO_DEBT:
                raise debt_error(error) from error
            raise
        if row is None:
            raise AlreadyExists(f"an account {account_id!r} exists already")
        return Account(**dict(row))

    async def grant(
        self,
        account_id: str,
        credits: Decimal,
        reason: str,
        *,
        allow_debt: bool = False,
        idempotency_key: str | None = None,
        actor: Actor | str | None = None,
    ) -> GrantedAccount:
        """Add credits to an account. A negative number takes credits. The ledger stores the reason.

        With an `idempotency_key` that the account has used before, nothing is added, and the result
        has the first entry. Raises `AccountNotFound`, `IdempotencyConflict` if the first grant with
        the key had other credits or another reason, and without `allow_debt` raises
        `WouldLeaveDebt` if more credits are taken than are available.
        """
        return await grant_credits(
            self._database,
            account_id,
            credits,
            reason,
            allow_debt=allow_debt,
            idempotency_key=idempotency_key,
            actor=actor,
        )

    async def set_account_limits(
        self,
        account_id: str,
        *,
        reason: str | None = None,
        actor: Actor | str | None = None,
        **limits: Unpack[AccountLimits],
    ) -> Account:
        """Set limits of an account. See `producer.accounts.account_limits.set_account_limits`."""
        return await set_account_limits(self._database, account_id, reason, actor, **limits)

    async def ledger(self, account_id: str, below: int | None, limit: int) -> list[dict[str, Any]]:
        """Return the account's ledger entries, newest first."""
        return await read_all_pages(partial(self.ledger_page, account_id), below, limit)

    async def ledger_page(self, account_id: str, below: int | None, limit: int) -> RowPage:
        """Return the account's newest entries with an id less than `below`, up to a full page."""
        await self.account(account_id)
        rows = await self._database.fetch("list_ledger", account_id, below, limit, PAGE_BYTES)
        return RowPage.of(as_dicts(rows))

    async def read_entry_actors(self, account_id: str, entry_ids: Sequence[int]) -> dict[int, str]:
        """Return the actors of the given entries that are grants or adjustments, by entry id."""
        rows = await self._database.fetch("audit_of_entries", account_id, list(entry_ids))
        return {row["entry_id"]: row["actor"] for row in rows}

    async def quote(self, request: ImageRequest) -> Quote:
        """Return what the request costs now, or raise `PriceMissing`."""
        require_type("request", request, ImageRequest, REQUEST_ADVICE)
        price = await self.price(*PriceKey.of_request(request))
        return Quote(price["credits"], price["price_id"], request.price_variant)

    async def price(
        self, model: str, task: str, quantity: int, variant: str = ""
    ) -> dict[str, Any]:
        """Return one row of `pricing`, or raise `PriceMissing`."""
        row = await self._database.fetch_row("get_price", model, task, quantity, variant)
        if row is None:
            raise await self.price_changes.missing(PriceKey(model, task, quantity, variant))
        return dict(row)

    async def prices(self) -> list[dict[str, Any]]:
        """Return every row of `pricing`."""
        return as_dicts(await self._database.fetch("list_prices"))

    async def price_versions(self, key: AnyPriceKey, limit: int) -> list[dict[str, Any]]:
        """Return the versions of one price, newest first."""
        rows = await self._database.fetch("list_price_versions", *PriceKey(*key), limit)
        return as_dicts(rows)

    async def price_history(self, limit: int) -> list[dict[str, Any]]:
        """Return price versions, newest first."""
        return as_dicts(await self._database.fetch("list_price_history", limit))

    async def set_price(
        self,
        key: AnyPriceKey,
        credits: Decimal,
        *,
        reason: str,
        confirmed: bool = False,
        actor: Actor | str | None = None,
    ) -> dict[str, Any]:
        """Change what one price charges. See `PriceChanges.change`."""
        return await self.price_changes.change(
            key, credits, reason=reason, confirmed=confirmed, actor=actor
        )

    async def refund(
        self,
        job_id: UUID,
        credits: Decimal | None = None,
        *,
        reason: str,
        actor: Actor | str | None = None,
    ) -> dict[str, Any]:
        """Give back what a job was charged, once. See `producer.money.refunds.refund_job`."""
        return await refund_job(self._database, job_id, credits, reason=reason, actor=actor)

    async def statement(self, account_id: str, since: datetime, until: datetime) -> Statement:
        """Return an account's statement. See `producer.money.statements.read_statement`."""
        return await read_statement(self._database, account_id, since, until)

    async def statement_lines(
        self,
        statement: Statement,
        *,
        after: int = 0,
        limit: int = DEFAULT_LIST_LIMIT,
        newest_first: bool = False,
    ) -> list[dict[str, Any]]:
        """Return lines of a statement, oldest first, with an id above `after`; or the newest."""
        return await read_statement_lines(
            self._database, statement, after=after, limit=limit, newest_first=newest_first
        )

    async def statement_csv(self, statement: Statement) -> str:
        """Return all lines of a statement as CSV. Raises `InvalidRequest` if there are too many."""
        return await read_statement_csv(self._database, statement)

    async def margin(
        self, group: MarginGroup, since: datetime, until: datetime, limit: int
    ) -> list[dict[str, Any]]:
        """Return the margin of a period. See `producer.money.margins.read_margin`."""
        return await read_margin(self._database, group, since, until, limit)

    async def audit(
        self,
        *,
        below: int | None = None,
        limit: int = DEFAULT_LIST_LIMIT,
        **filters: Unpack[AuditFilter],
    ) -> list[dict[str, Any]]:
        """Return audit entries, newest first. See `producer.audit_entries.audit_page`."""

        async def read(below: int | None, limit: int) -> RowPage:
            return await self.audit_page(below=below, limit=limit, **filters)

        return await read_all_pages(read, below, limit)

    async def audit_page(
        self, *, below: int | None, limit: int, **filters: Unpack[AuditFilter]
    ) -> RowPage:
        """Return the newest audit entries with an id less than `below`, up to a full page."""
        return await audit_page(self._database, below=below, limit=limit, **filters)
