"""Cancels and retries many jobs.

A call that is repeated, or that broke off, does nothing twice: a cancelled job stays cancelled, a
cancel is requested once, and a job has one retry.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from producer.actor import Actor, actor_to_json
from producer.bulk.bulk_orders import BulkOrders
from producer.bulk.bulk_result import BulkOutcome, BulkRefusal, BulkResult, sum_up
from producer.bulk.job_choice import JobChooser
from producer.bulk.job_selection import JobSelection
from producer.jobs.job_repository import EnqueueResult, JobRepository
from producer.jobs.job_retries import build_retry_order
from producer.jobs.locked_rows import name_locked_row
from producer.orders.order import Order
from producer.orders.order_enqueuer import OrderEnqueuer
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.job_rows import jobs_from_rows
from shared.domain.lifecycle import OPEN, JobState
from shared.errors import JobNotFound, RequestRefused, RowBusy, TooLateToCancel

JOBS_PER_STATEMENT = 100
"""A statement holds the locks of jobs and accounts until its commit, so it has few jobs."""


class BulkActions:
    """Cancels and retries many jobs. Every method may raise `PostgresDown`.

    Some jobs may be done then. The same call again does the others.
    """

    def __init__(self, database: Database, enqueuer: OrderEnqueuer) -> None:
        self._database = database
        self._jobs = JobRepository(database)
        self._chooser = JobChooser(database)
        self._orders = BulkOrders(database, enqueuer)

    async def cancel(
        self, selection: JobSelection, *, dry_run: bool, actor: Actor | str | None
    ) -> BulkResult:
        """Cancel the queued jobs of the selection, and request the cancel of those at Kie."""
        choice = await self._chooser.choose(selection, "cancel")
        if dry_run:
            return await self._chooser.estimate(choice)
        done: list[BulkOutcome] = []
        refused: list[BulkRefusal] = []
        for start in range(0, len(choice.ids), JOBS_PER_STATEMENT):
            chunk = choice.ids[start : start + JOBS_PER_STATEMENT]
            cancelled, others = await self._cancel_chunk(chunk, actor)
            done += cancelled
            refused += others
        return choice.build_result(sum_up(done), done, refused)

    async def _cancel_chunk(
        self, ids: Sequence[UUID], actor: Actor | str | None
    ) -> tuple[list[BulkOutcome], list[BulkRefusal]]:
        try:
            with name_locked_row(f"one of {len(ids)} jobs or their accounts"):
                rows = await self._database.fetch("cancel_jobs", list(ids), actor_to_json(actor))
        except RowBusy as busy:
            return [], [BulkRefusal(job_id, busy) for job_id in ids]
        done = {job.id: BulkOutcome(job.id, job, is_new=True) for job in jobs_from_rows(rows)}
        left = [job_id for job_id in ids if job_id not in done]
        states = await self._jobs.states(left) if left else {}
        refused = []
        for job_id in left:
            found = states.get(job_id)
            if found is None:
                refused.append(BulkRefusal(job_id, JobNotFound(str(job_id))))
            elif found.state is JobState.CANCELLED or (
                found.is_cancel_requested and found.state in OPEN
            ):
                done[job_id] = BulkOutcome(job_id, await self._jobs.get(job_id), is_new=False)
            else:
                error = TooLateToCancel(str(job_id), found.state)
                refused.append(BulkRefusal(job_id, error))
        return list(done.values()), refused

    async def retry(
        self, selection: JobSelection, *, again: bool, dry_run: bool, actor: Actor | str | None
    ) -> BulkResult:
        """Retry the ended jobs of the selection, each at the cost of its own account."""
        choice = await self._chooser.choose(selection, "retry", again=again)
        if dry_run:
            return await self._chooser.estimate(choice)
        orders: list[Order] = []
        refused: list[BulkRefusal] = []
        jobs = {job.id: job for job in await self._jobs.get_many(choice.ids)}
        for job_id in choice.ids:
            try:
                orders.append(build_retry_order(jobs[job_id], again=again))
            except RequestRefused as error:
                refused.append(BulkRefusal(job_id, error))
        done = []
        for order, outcome in await self._orders.enqueue(orders, actor):
            if order.retry_of is None:
                raise AssertionError("a retry names its job")
            if isinstance(outcome, EnqueueResult):
                done.append(BulkOutcome(order.retry_of, outcome.job, outcome.is_new))
            else:
                refused.append(BulkRefusal(order.retry_of, outcome))
        return choice.build_result(sum_up(done), done, refused)
