"""Inserts jobs with their holds into Postgres, and reads, lists and cancels them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from producer.accounts.refusals import translate_refusal
from producer.actor import Actor, actor_to_json
from producer.jobs.job_counts import JobCount, sort_counts
from producer.jobs.job_filter import JobFilter, filter_to_json
from producer.jobs.locked_rows import describe_accounts, describe_job_rows, name_locked_row
from producer.list_pages import PAGE_BYTES, JobPage
from producer.money.price_key import PriceKey, price_missing
from producer.orders.insert_parameters import (
    PreparedOrder,
    build_inserted_job,
    insert_parameters,
    prepare_order,
)
from producer.orders.order import Order
from producer.webhooks.webhook_messages import show_message_id
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.job_rows import job_from_row, jobs_from_rows
from shared.adapters.postgres.row_dicts import as_dicts
from shared.domain.job import Job
from shared.domain.lifecycle import TERMINAL, JobState
from shared.errors import (
    DatabaseRefused,
    IdempotencyConflict,
    JobNotFound,
    RequestRefused,
    TooLateToCancel,
)

_CANCEL_TRIES = 5
_MASKED = {
    "get_job": "get_masked_job",
    "list_jobs": "list_masked_jobs",
    "count_jobs": "count_masked_jobs",
}


@dataclass(frozen=True, slots=True)
class EnqueueResult:
    """The job of an order, and whether this order created it."""

    job: Job
    is_new: bool
    is_chosen: bool = False
    """Whether the job is delivered at once, because no job waited before it."""


@dataclass(frozen=True, slots=True)
class ReadState:
    """The state of a job as it was read."""

    state: JobState
    is_announced: bool
    """Whether the end, if there is one, waits for no copy of an image."""
    is_cancel_requested: bool = False
    """Whether the cancel of the job was requested while it was at Kie."""

    @property
    def has_ended(self) -> bool:
        """Whether who waits for the job is answered."""
        return self.state in TERMINAL and self.is_announced


class JobRepository:
    """Inserts, reads, lists and cancels jobs. Every method may raise `PostgresDown`."""

    def __init__(self, queries: Queries, *, is_masked: bool = False) -> None:
        """With `is_masked`, `get`, `page`, `list` and `count` work without the right to read
        prompts: these and metadata, images and keys come empty.
        """
        self._queries = queries
        self._names = _MASKED if is_masked else {}

    async def insert(self, orders: Sequence[Order]) -> list[EnqueueResult]:
        """Insert the orders as jobs with their holds, in one statement, in the order given.

        Raises `InsufficientCredits`, `AccountNotFound`, `LimitReached` or `PriorityNotAllowed` with
        nothing stored. `PriceMissing` and
        `IdempotencyConflict` are raised after the statement, so a caller with several orders must
        run this inside a transaction.
        """
        stored = await self._insert_all(orders)
        return [new or await self._find_existing(order) for order, new in stored]

    async def insert_each(self, orders: Sequence[Order]) -> list[EnqueueResult | RequestRefused]:
        """Insert independent orders in one statement, and return the outcome of each.

        Raises `InsufficientCredits`, `AccountNotFound`, `LimitReached` or `PriorityNotAllowed` with
        nothing stored if all orders together are not possible. Single orders may still be.
        """
        outcomes: list[EnqueueResult | RequestRefused] = []
        for order, new in await self._insert_all(orders):
            try:
                outcomes.append(new or await self._find_existing(order))
            except RequestRefused as refused:
                outcomes.append(refused)
        return outcomes

    async def _insert_all(
        self, orders: Sequence[Order]
    ) -> list[tuple[Order, EnqueueResult | None]]:
        """Insert the orders, and return each order with its new job, if it has one."""
        prepared_orders = [prepare_order(order) for order in orders]
        try:
            with name_locked_row(describe_accounts({order.account_id for order in orders})):
                rows = await self._run_insert(prepared_orders)
        except DatabaseRefused as error:
            raise translate_refusal(error) from error
        stored = {row["id"]: row for row in rows}
        return [
            (
                prepared.order,
                EnqueueResult(
                    build_inserted_job(prepared, row), is_new=True, is_chosen=row["is_chosen"]
                )
                if (row := stored.get(prepared.id)) is not None
                else None,
            )
            for prepared in prepared_orders
        ]

    async def _run_insert(
        self, prepared_orders: Sequence[PreparedOrder]
    ) -> Sequence[asyncpg.Record]:
        """Run the insert statement. Return a row for each order that became a job."""
        if len(prepared_orders) == 1:
            row = await self._queries.fetch_row(
                "enqueue_job", *insert_parameters(prepared_orders[0])
            )
            return [row] if row is not None else []
        columns = zip(*map(insert_parameters, prepared_orders), strict=True)
        return await self._queries.fetch("enqueue_jobs", *columns)

    async def _find_existing(self, order: Order) -> EnqueueResult:
        """Return the job that exists instead of a new one, or raise why there is none."""
        if order.retry_of is not None:
            retry = await self.find_retry(order.retry_of)
            if retry is not None:
                return EnqueueResult(retry, is_new=False)
        first = await self._find_by_key(order)
        if first is None:
            prices = as_dicts(await self._queries.fetch("list_prices"))
            raise price_missing(PriceKey.of_request(order.request), prices)
        differs = _find_differences(order, first)
        if differs:
            raise IdempotencyConflict(order.idempotency_key or "", str(first.id), differs)
        return EnqueueResult(first, is_new=False)

    async def _find_by_key(self, order: Order) -> Job | None:
        if order.idempotency_key is None:
            return None
        row = await self._queries.fetch_row(
            "find_by_idempotency_key", order.account_id, order.idempotency_key
        )
        return job_from_row(row) if row else None

    async def find_retry(self, job_id: UUID) -> Job | None:
        """Return the job that repeats the request of this one, if there is one."""
        row = await self._queries.fetch_row("find_retry", job_id)
        return job_from_row(row) if row else None

    async def get(self, job_id: UUID) -> Job:
        """Return the job, or raise `JobNotFound`."""
        row = await self._queries.fetch_row(self._names.get("get_job", "get_job"), job_id)
        if row is None:
            raise JobNotFound(str(job_id))
        return job_from_row(row)

    async def read_details(self, job_id: UUID) -> dict[str, list[dict[str, Any]]]:
        """Return what is stored about a job, by kind. Each list is oldest first."""
        details = {
            name: as_dicts(await self._queries.fetch(query, job_id))
            for name, query in (
                ("events", "list_events"),
                ("attempts", "list_attempts"),
                ("entries", "list_job_entries"),
                ("late_tasks", "list_late_tasks"),
                ("audit", "audit_of_job"),
                ("webhooks", "list_webhooks_of_job"),
                ("retries", "list_retries"),
            )
        }
        details["webhooks"] = [show_message_id(row) for row in details["webhooks"]]
        return details

    async def states(self, job_ids: Sequence[UUID]) -> dict[UUID, ReadState]:
        """Return only the states of the jobs that exist, by id."""
        rows = await self._queries.fetch("job_states", list(job_ids))
        return {
            UUID(int=row["id"].int): ReadState(
                JobState(row["state"]), row["is_announced"], row["is_cancel_requested"]
            )
            for row in rows
        }

    async def get_many(self, job_ids: Sequence[UUID]) -> list[Job]:
        """Return the jobs that exist, newest first."""
        return jobs_from_rows(await self._queries.fetch("get_jobs", list(job_ids)))

    async def list(self, where: JobFilter, *, below: UUID | None, limit: int) -> list[Job]:
        """Return up to `limit` jobs, newest first, from as many pages as needed."""
        jobs: list[Job] = []
        is_last = False
        while not is_last and len(jobs) < limit:
            page = await self.page(where, below=below, limit=limit - len(jobs))
            jobs += page.jobs
            below, is_last = page.next_below, page.next_below is None
        return jobs

    async def page(
        self,
        where: JobFilter,
        *,
        below: UUID | None,
        limit: int,
        without: Collection[str] = (),
    ) -> JobPage:
        """Return the newest jobs with an id less than `below`, up to `limit` and to a full page.

        `without` may contain `request` and `metadata`. These fields are then empty and do not count
        towards the size of the page.
        """
        rows = await self._queries.fetch(
            self._names.get("list_jobs", "list_jobs"),
            below,
            limit,
            "request" not in without,
            "metadata" not in without,
            PAGE_BYTES,
            filter_to_json(where),
        )
        # Rows that cannot be read are left out, and must not end the list.
        has_more = bool(rows) and rows[-1]["place"] < rows[-1]["found"]
        next_below = UUID(int=rows[-1]["id"].int) if has_more else None
        return JobPage(jobs_from_rows(rows), next_below)

    async def count(self, where: JobFilter) -> Sequence[JobCount]:
        """Return how many jobs match, by state and reason."""
        rows = await self._queries.fetch(
            self._names.get("count_jobs", "count_jobs"), filter_to_json(where)
        )
        return sort_counts(
            [JobCount(JobState(row["state"]), row["reason"], row["jobs"]) for row in rows]
        )

    async def cancel(self, job_id: UUID, actor: Actor | str | None = None) -> Job:
        """Cancel a queued job and release its hold, or request the cancel of one at Kie.

        A repeated request returns the job. Raises `TooLateToCancel` if the job has ended.
        """
        job = await self.get(job_id)
        for _ in range(_CANCEL_TRIES):
            with name_locked_row(describe_job_rows(job_id, job.account_id)):
                row = await self._queries.fetch_row("cancel_job", job_id, actor_to_json(actor))
            if row is not None:
                return job_from_row(row)
            job = await self.get(job_id)
            if job.is_cancel_requested:
                return job
            # The job may have left the queue or returned to it meanwhile. Then it is tried again.
            if job.is_terminal:
                break
        raise TooLateToCancel(str(job_id), job.state.value)


def _find_differences(order: Order, first: Job) -> list[str]:
    """Return the names of the fields that differ between an order and the job of the same key.

    Of a pruned job, the request, the metadata and the webhook URL are not compared: they are gone.
    """
    asked = order.request.model_dump(mode="json") if first.pruned_at is None else {}
    named = {
        "model": (order.request.model, first.model),
        "task": (order.request.task, first.task),
        **{
            field: (asked.get(field), first.request.get(field))
            for field in sorted({*asked, *first.request})
        },
        # Compare the JSON, because times and tuples change when they are stored as JSON.
        "metadata": (orjson.loads(orjson.dumps(dict(order.metadata))), dict(first.metadata)),
        "webhook_url": (order.webhook_url, first.webhook_url),
        "priority": (order.priority, first.priority),
    }
    if first.pruned_at is not None:
        del named["metadata"], named["webhook_url"]
    if order.priority_limit == "lower" and first.priority != "high":
        del named["priority"]  # the request named none, and that of the account may have changed
    return [name for name, (new, old) in named.items() if new != old]
