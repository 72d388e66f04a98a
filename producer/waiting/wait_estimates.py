"""Says of jobs when they are submitted: `position` and `estimated_start_at`."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from producer.accounts.limit_errors import QueueLimitReached
from producer.waiting.fair_positions import WaitingAccount, position_in_time
from producer.waiting.waiting_snapshot import SnapshotReader, WaitingSnapshot
from shared.adapters.postgres.database import Queries
from shared.domain.job import Job, WaitReason, copy_estimate, replace_fields
from shared.domain.lifecycle import JobState
from shared.errors import DependencyDown

NEW_JOBS_MAX = 1_000
"""Of how many jobs of one call the estimates are calculated as they are stored."""
_JOBS_BETWEEN_OTHERS = 50
"""After so many estimates, other requests have a turn."""
FIRST_ESTIMATES_MAX = 10_000
"""Of how many jobs a process remembers the first estimate."""
_READ_SHARE = 20.0
"""A snapshot that a newer job is not in is used for so many times the time of its read."""
SNAPSHOT_SECONDS = 1.0
"""How long a snapshot is used by all callers of a process."""


@dataclass(frozen=True, slots=True)
class WaitEstimate:
    """When a job is submitted."""

    position: int | None
    """1 is submitted next. None for a scheduled job."""
    start_at: datetime | None
    """None if nothing says when."""
    wait_reason: WaitReason | None
    """Why `start_at` is None."""


class WaitEstimates:
    """Estimates of jobs, from a snapshot that is at most one second old."""

    def __init__(
        self,
        queries: Queries,
        reader: SnapshotReader,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queries = queries
        self._reader = reader
        self._monotonic = monotonic
        self._reading = asyncio.Lock()
        self._last: WaitingSnapshot | None = None
        self._read_at = -math.inf
        self._took = 0.0
        self._added: Counter[tuple[str, str]] = Counter()
        """The jobs that this process has stored since the snapshot, by account and priority."""
        self._first: dict[UUID, Job] = {}
        """The jobs with an idempotency key as this process stored them. The oldest first."""

    async def snapshot(self, *, later_than: datetime | None = None) -> WaitingSnapshot:
        """Return what waits, at most one second old. Raises `PostgresDown`.

        One that is earlier than `later_than` is used for less time, if a read takes little.
        """
        async with self._reading:
            now = self._monotonic()
            is_earlier = later_than is not None and self._last and self._last.at < later_than
            kept = (
                min(self._took * _READ_SHARE, SNAPSHOT_SECONDS) if is_earlier else SNAPSHOT_SECONDS
            )
            if self._last is None or now - self._read_at >= kept:
                self._last = None
                self._last = await self._reader.read()
                self._added.clear()
                self._read_at = self._monotonic()
                self._took = self._read_at - now
            return self._last

    async def add(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs, the queued ones with their estimates. Raises `PostgresDown`."""
        queued = [job.id for job in jobs if job.state is JobState.QUEUED]
        if not queued:
            return list(jobs)
        newest = max(job.created_at for job in jobs if job.state is JobState.QUEUED)
        snapshot = await self.snapshot(later_than=newest)
        rows = await self._queries.fetch("places_in_turn", queued)
        places = {UUID(int=row["job_id"].int): (row["chosen_place"], row["number"]) for row in rows}
        found: list[Job] = []
        for done, job in enumerate(jobs, start=1):
            place = places.get(job.id)
            if place is not None:
                job = _with_estimate(job, estimate_job(snapshot, job, *place))
            found.append(job)
            if done % _JOBS_BETWEEN_OTHERS == 0:
                await asyncio.sleep(0)
        return found

    async def add_to_new(self, jobs: Sequence[Job]) -> list[Job]:
        """Return jobs that were just stored, with their estimates.

        They follow from the snapshot, so that a job costs no statement, except where the snapshot
        was read after they were stored. Beyond `NEW_JOBS_MAX` jobs, and if Postgres is down, jobs
        are returned as they are.
        """
        if not jobs:
            return []
        try:
            snapshot = await self.snapshot()
            if snapshot.at > jobs[0].created_at:
                found = [*await self.add(jobs[:NEW_JOBS_MAX]), *jobs[NEW_JOBS_MAX:]]
                for job in found:
                    self._remember(job)
                return found
        except DependencyDown:
            return list(jobs)
        counted = self._added
        found = []
        for job in jobs:
            key = job.account_id, job.priority
            if not _is_scheduled(job, snapshot.at):
                counted[key] += 1
            if len(found) >= NEW_JOBS_MAX:
                found.append(job)
                continue
            account = snapshot.order.find(*key)
            number = counted[key] + (account.waiting if account is not None else 0)
            found.append(_with_estimate(job, estimate_job(snapshot, job, None, number)))
            self._remember(found[-1])
        return found

    async def expect(
        self,
        account_id: str,
        priority: str,
        weight: float,
        model: str,
        run_at: datetime | None = None,
    ) -> tuple[datetime, WaitEstimate]:
        """Return the time of the snapshot, and when a job that is stored now would be submitted.

        `weight` is that of the account. Raises `PostgresDown`.
        """
        snapshot = await self.snapshot()
        account = snapshot.order.find(account_id, priority)
        if account is None:
            account = snapshot.order.new_account(account_id, priority, weight)
        number = account.waiting + self._added[account_id, priority] + 1
        wait = estimate_wait(snapshot, account, number, model)
        if run_at is not None and run_at > snapshot.at:
            wait = _not_before(wait, run_at)
        return snapshot.at, wait

    @asynccontextmanager
    async def timing_refusals(self) -> AsyncIterator[None]:
        """Set the `retry_after_seconds` of a full queue that the block raises."""
        try:
            yield
        except QueueLimitReached as refused:
            await self.set_retry_after(refused)
            raise

    async def set_retry_after(self, refused: QueueLimitReached) -> None:
        """Set when so many jobs of the account are submitted that the refused ones fit.

        Left as it is if nothing says when, or Postgres is down.
        """
        try:
            snapshot = await self.snapshot()
        except DependencyDown:
            return
        jobs = refused.used + refused.asked - refused.allowed
        waits = [
            (one.start_at - snapshot.at).total_seconds()
            for account in snapshot.order.accounts
            if account.account_id == refused.account_id and account.waiting >= jobs
            if (one := estimate_wait(snapshot, account, jobs, "")).start_at is not None
        ]
        if waits:
            refused.retry_after_seconds = max(1, math.ceil(min(waits)))

    def _remember(self, job: Job) -> None:
        if job.idempotency_key is not None:
            self._first[job.id] = job
            if len(self._first) > FIRST_ESTIMATES_MAX:
                del self._first[next(iter(self._first))]

    def add_first(self, job: Job) -> Job:
        """Return the job with the estimate that it had when this process stored it.

        So the answer to a repeated idempotency key is the first one. Without an estimate if another
        process stored the job, or this one long ago.
        """
        return copy_estimate(self._first.get(job.id, job), to=job)


def estimate_job(
    snapshot: WaitingSnapshot, job: Job, chosen_place: int | None, number: int, weight: float = 1.0
) -> WaitEstimate:
    """Return when a queued job is submitted.

    `chosen_place` is its place among the chosen jobs. `number` counts the waiting jobs of its
    account and priority up to it. `weight` is that of an account with no waiting job.
    """
    account = snapshot.order.find(job.account_id, job.priority)
    if account is None:
        account = snapshot.order.new_account(job.account_id, job.priority, weight)
    if _is_scheduled(job, snapshot.at):
        wait = estimate_wait(snapshot, account, account.waiting + 1, job.model)
        return _not_before(wait, job.run_at)
    if chosen_place is not None:
        wait = _estimate_at(snapshot, chosen_place, snapshot.pace.seconds_until(chosen_place), job)
    else:
        wait = estimate_wait(snapshot, account, number, job.model)
    if wait.start_at is not None and wait.start_at < job.due_at:
        return WaitEstimate(wait.position, job.due_at, None)
    return wait


def _not_before(wait: WaitEstimate, run_at: datetime) -> WaitEstimate:
    """Return the estimate of a scheduled job, which has no position yet."""
    start_at = None if wait.start_at is None else max(wait.start_at, run_at)
    return WaitEstimate(None, start_at, wait.wait_reason)


def estimate_wait(
    snapshot: WaitingSnapshot, account: WaitingAccount, number: int, model: str
) -> WaitEstimate:
    """Return when the account's waiting job with this number is submitted."""
    position, seconds = position_in_time(
        snapshot.order, account, number, snapshot.pace.seconds_until
    )
    return _finish(snapshot, position, seconds, model, account.account_id)


def _estimate_at(
    snapshot: WaitingSnapshot, position: int, seconds: float | None, job: Job
) -> WaitEstimate:
    return _finish(snapshot, position, seconds, job.model, job.account_id)


def _finish(
    snapshot: WaitingSnapshot,
    position: int,
    seconds: float | None,
    model: str,
    account_id: str,
) -> WaitEstimate:
    paused = snapshot.paused_seconds(model, account_id)
    reason: WaitReason | None = None
    if snapshot.pace.stopped is not None:
        reason = snapshot.pace.stopped
    elif math.isinf(paused):
        reason = "paused"
    elif snapshot.is_braked(model):
        reason = "submits_refused"
    elif seconds is None:
        reason = "account_limit"
    if reason is not None or seconds is None:
        return WaitEstimate(position, None, reason)
    return WaitEstimate(position, snapshot.at + timedelta(seconds=paused + seconds), None)


def _is_scheduled(job: Job, at: datetime) -> bool:
    # A job that was stored after the snapshot has a later `run_at` as well.
    return job.run_at > job.created_at and job.is_scheduled(at)


def _with_estimate(job: Job, estimate: WaitEstimate) -> Job:
    return replace_fields(
        job,
        position=estimate.position,
        estimated_start_at=estimate.start_at,
        wait_reason=estimate.wait_reason,
    )
