"""Says of jobs when they are submitted: `position` and `estimated_start_at`."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from producer.waiting.fair_positions import WaitingAccount, position_in_time
from producer.waiting.waiting_snapshot import SnapshotReader, WaitingSnapshot
from shared.adapters.postgres.database import Queries
from shared.domain.job import Job, WaitReason, replace_fields
from shared.domain.lifecycle import JobState
from shared.errors import DependencyDown

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

    async def snapshot(self) -> WaitingSnapshot:
        """Return what waits, at most one second old. Raises `PostgresDown`."""
        async with self._reading:
            if self._last is None or self._monotonic() - self._read_at >= SNAPSHOT_SECONDS:
                self._last = None
                self._last = await self._reader.read()
                self._read_at = self._monotonic()
            return self._last

    async def add(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs, the queued ones with their estimates. Raises `PostgresDown`."""
        queued = [job.id for job in jobs if job.state is JobState.QUEUED]
        if not queued:
            return list(jobs)
        snapshot = await self.snapshot()
        rows = await self._queries.fetch("places_in_turn", queued)
        places = {UUID(int=row["job_id"].int): (row["chosen_place"], row["number"]) for row in rows}
        return [
            _with_estimate(job, estimate_job(snapshot, job, *places[job.id]))
            if job.id in places
            else job
            for job in jobs
        ]

    async def add_to_new(self, jobs: Sequence[Job]) -> list[Job]:
        """Return jobs that were just stored, with their estimates from the snapshot alone.

        Costs no statement for each job. If Postgres is down, the jobs are returned as they are.
        """
        try:
            snapshot = await self.snapshot()
        except DependencyDown:
            return list(jobs)
        numbers: dict[tuple[str, str], int] = {}
        found = []
        for job in jobs:
            key = job.account_id, job.priority
            if key not in numbers:
                account = snapshot.order.find(*key)
                numbers[key] = account.waiting if account is not None else 0
            if not job.is_scheduled(snapshot.at):
                numbers[key] += 1
            found.append(_with_estimate(job, estimate_job(snapshot, job, None, numbers[key])))
        return found


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
    if job.is_scheduled(snapshot.at):
        wait = estimate_wait(snapshot, account, account.waiting + 1, job.model)
        if wait.start_at is not None:
            return WaitEstimate(None, max(wait.start_at, job.run_at), None)
        return WaitEstimate(None, None, wait.wait_reason)
    if chosen_place is not None:
        wait = _estimate_at(snapshot, chosen_place, snapshot.pace.seconds_until(chosen_place), job)
    else:
        wait = estimate_wait(snapshot, account, number, job.model)
    if wait.start_at is not None and wait.start_at < job.due_at:
        return WaitEstimate(wait.position, job.due_at, None)
    return wait


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
    elif model in snapshot.braked_families:
        reason = "submits_refused"
    elif seconds is None:
        reason = "account_limit"
    if reason is not None or seconds is None:
        return WaitEstimate(position, None, reason)
    return WaitEstimate(position, snapshot.at + timedelta(seconds=paused + seconds), None)


def _with_estimate(job: Job, estimate: WaitEstimate) -> Job:
    return replace_fields(
        job,
        position=estimate.position,
        estimated_start_at=estimate.start_at,
        wait_reason=estimate.wait_reason,
    )
