"""Writes jobs into Postgres with their holds, reads them, and takes them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import asyncpg
import orjson
from uuid_utils.compat import uuid7

from producer.orders import Order
from shared.adapters.job_rows import job_from_row
from shared.adapters.postgres import Queries
from shared.domain import events
from shared.domain.job import Job
from shared.domain.lifecycle import JobState, Reason, event_name, transition_of
from shared.errors import (
    AccountNotFound,
    DatabaseRefused,
    IdempotencyConflict,
    InsufficientCredits,
    JobNotFound,
    PriceMissing,
    TooLateToCancel,
)

_SHORT_OF_CREDITS = "DR402"
_FOREIGN_KEY = "23503"


@dataclass(frozen=True, slots=True)
class Entered:
    """A job that an order led to, and whether this order made it."""

    job: Job
    is_new: bool


class JobBook:
    """The producer's hand on `jobs` and the ledger. Raises `PostgresDown`."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def enter(self, orders: Sequence[Order]) -> list[Entered]:
        """Store the orders as jobs with their holds, in one statement, in the order given.

        Raises `InsufficientCredits` or `AccountNotFound` with nothing stored. `PriceMissing` and
        `IdempotencyConflict` are raised after the statement: a caller with several orders runs
        this inside a transaction, which they abort.
        """
        try:
            rows = await self._queries.fetch("enqueue_jobs", *_columns(orders))
        except DatabaseRefused as error:
            raise await self._explain(error, orders) from error
        return [await self._entered(order, row) for order, row in zip(orders, rows, strict=True)]

    async def _entered(self, order: Order, row: asyncpg.Record) -> Entered:
        if row["is_new"]:
            return Entered(job_from_row(row), is_new=True)
        first = await self._find_first(order)
        if first is None:
            request = order.request
            raise PriceMissing(request.model, request.task, request.price_quantity)
        differs = _differences(order, first)
        if differs:
            raise IdempotencyConflict(order.idempotency_key or "", str(first.id), differs)
        return Entered(first, is_new=False)

    async def _find_first(self, order: Order) -> Job | None:
        if order.idempotency_key is None:
            return None
        row = await self._queries.fetch_row(
            "find_by_idempotency_key", order.account_id, order.idempotency_key
        )
        return job_from_row(row) if row else None

    async def _explain(self, error: DatabaseRefused, orders: Sequence[Order]) -> Exception:
        if error.sqlstate == _FOREIGN_KEY and error.constraint == "jobs_account_id_fkey":
            return AccountNotFound(await self._first_unknown_account(orders))
        if error.sqlstate != _SHORT_OF_CREDITS or error.detail is None:
            return error
        short = orjson.loads(error.detail)
        return InsufficientCredits(
            short["account_id"],
            needed=Decimal(short["needed"]),
            available=Decimal(short["available"]),
            held=Decimal(short["held"]),
        )

    async def _first_unknown_account(self, orders: Sequence[Order]) -> str:
        for account_id in dict.fromkeys(order.account_id for order in orders):
            if await self._queries.fetch_row("get_account", account_id) is None:
                return account_id
        return orders[0].account_id

    async def get(self, job_id: UUID) -> Job:
        """Return the job as it is now, or raise `JobNotFound`."""
        row = await self._queries.fetch_row("get_job", job_id)
        if row is None:
            raise JobNotFound(str(job_id))
        return job_from_row(row)

    async def get_many(self, job_ids: Sequence[UUID]) -> list[Job]:
        """Return those of the jobs that exist, in no order."""
        return [job_from_row(row) for row in await self._queries.fetch("get_jobs", list(job_ids))]

    async def list(
        self, *, account_id: str | None, state: JobState | None, below: UUID | None, most: int
    ) -> list[Job]:
        """Return jobs, newest first."""
        rows = await self._queries.fetch(
            "list_jobs", account_id, state.value if state else None, below, most
        )
        return [job_from_row(row) for row in rows]

    async def cancel(self, job_id: UUID) -> Job:
        """Take a queued job back and release its hold, or raise `TooLateToCancel`."""
        job = await self.get(job_id)
        transition = transition_of(events.Cancelled)
        row = await self._queries.fetch_row(
            "release_job",
            job_id,
            job.attempt,
            [state.value for state in transition.sources],
            transition.target.value,
            Reason.CANCELLED_BY_CALLER.value,
            "cancelled by the caller",
            None,
            event_name(events.Cancelled),
        )
        if row is None:
            job = await self.get(job_id)
            raise TooLateToCancel(str(job_id), job.state.value)
        return job_from_row(row)


def _columns(orders: Sequence[Order]) -> list[list[object]]:
    """Return the orders as the parameters of `enqueue_jobs`: one array per column."""
    rows = [
        (
            UUID(int=uuid7().int),
            order.account_id,
            order.request.model,
            order.request.task,
            order.request.price_quantity,
            orjson.dumps(order.request.model_dump(mode="json")).decode(),
            order.idempotency_key,
            orjson.dumps(dict(order.metadata)).decode(),
            order.webhook_url,
            order.priority,
            order.run_at,
            order.retry_of,
        )
        for order in orders
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _differences(order: Order, first: Job) -> list[str]:
    """Name what differs between an order and the job that its key already names."""
    asked = order.request.model_dump(mode="json")
    named = {
        "model": (order.request.model, first.model),
        "task": (order.request.task, first.task),
        **{
            field: (asked.get(field), first.request.get(field))
            for field in sorted({*asked, *first.request})
        },
        "metadata": (dict(order.metadata), dict(first.metadata)),
        "webhook_url": (order.webhook_url, first.webhook_url),
        "priority": (order.priority, first.priority),
    }
    return [name for name, (new, old) in named.items() if new != old]
