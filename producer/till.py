"""The till: accounts, prices and the ledger, as a producer reads and writes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from producer.locked_rows import account_rows, naming_the_row
from shared.adapters.postgres import Database, as_dicts
from shared.catalog import ImageRequest
from shared.errors import AccountNotFound, AlreadyExists, DatabaseRefused, PriceMissing

_NO_SUCH_ACCOUNT = "DR404"


@dataclass(frozen=True, slots=True)
class Account:
    """An account's credits at one moment."""

    id: str
    balance: Decimal
    """Owned, holds included; below zero only after a price rise between enqueue and success."""
    held: Decimal
    """Set aside for open jobs."""
    available: Decimal
    """What new jobs may hold: balance less held."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Quote:
    """What a request would cost if it were enqueued now."""

    credits: Decimal
    price_id: int
    """The version in `pricing_history`."""


class Till:
    """Reads and writes accounts and prices. Raises `PostgresDown`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def account(self, account_id: str) -> Account:
        """Return the account, or raise `AccountNotFound`."""
        row = await self._database.fetch_row("get_account", account_id)
        if row is None:
            raise AccountNotFound(account_id)
        return Account(**dict(row))

    async def create_account(self, account_id: str) -> Account:
        """Create an empty account; raises `AlreadyExists`."""
        row = await self._database.fetch_row("create_account", account_id)
        if row is None:
            raise AlreadyExists(f"an account {account_id!r} exists already")
        return Account(**dict(row))

    async def grant(self, account_id: str, credits: Decimal, reason: str) -> Account:
        """Add credits, or take them where negative, with a reason in the ledger."""
        try:
            with naming_the_row(account_rows([account_id])):
                row = await self._database.fetch_row(
                    "grant_to_account", account_id, credits, reason
                )
        except DatabaseRefused as error:
            if error.sqlstate == _NO_SUCH_ACCOUNT:
                raise AccountNotFound(account_id) from error
            raise
        return Account(**dict(row or {}))

    async def ledger(self, account_id: str, below: int | None, most: int) -> list[dict[str, Any]]:
        """Return the account's entries, newest first."""
        await self.account(account_id)
        return as_dicts(await self._database.fetch("list_ledger", account_id, below, most))

    async def quote(self, request: ImageRequest) -> Quote:
        """Return what the request costs now, or raise `PriceMissing`."""
        price = await self.price(request.model, request.task, request.price_quantity)
        return Quote(price["credits"], price["price_id"])

    async def price(self, model: str, task: str, quantity: int) -> dict[str, Any]:
        """Return one row of `pricing`, or raise `PriceMissing`."""
        row = await self._database.fetch_row("get_price", model, task, quantity)
        if row is None:
            raise PriceMissing(model, task, quantity)
        return dict(row)

    async def prices(self) -> list[dict[str, Any]]:
        """Return every row of `pricing`."""
        return as_dicts(await self._database.fetch("list_prices"))

    async def price_history(self, most: int) -> list[dict[str, Any]]:
        """Return price versions, newest first."""
        return as_dicts(await self._database.fetch("list_price_history", most))

    async def set_price(
        self, key: tuple[str, str, int], credits: Decimal, *, reason: str, actor: str
    ) -> dict[str, Any]:
        """Change one price and note who and why; raises `PriceMissing` or `DatabaseRefused`."""
        async with self._database.transaction() as queries:
            await queries.fetch("say_why", actor, reason)
            with naming_the_row("price {}/{}/{}".format(*key)):
                row = await queries.fetch_row("set_price", *key, credits)
            if row is None:
                raise PriceMissing(*key)
            return dict(row)

    async def explain(self, job_id: UUID) -> dict[str, list[dict[str, Any]]]:
        """Return a job's timeline, attempts, ledger entries and late tasks, oldest first."""
        return {
            name: as_dicts(await self._database.fetch(query, job_id))
            for name, query in (
                ("events", "list_events"),
                ("attempts", "list_attempts"),
                ("entries", "list_job_entries"),
                ("late_tasks", "list_late_tasks"),
            )
        }
