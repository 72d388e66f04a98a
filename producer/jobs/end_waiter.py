"""Waits for jobs to end: Redis announces ends, and a query checks Postgres every two seconds.

All waits of a process share one subscription and one query. A lost announcement delays a wait by
at most two seconds.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

from producer.jobs.job_repository import JobRepository, ReadState
from producer.live.change_subscription import ChangeSubscription
from shared.adapters.async_tasks import stop_tasks
from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.domain.job import Job
from shared.domain.lifecycle import TERMINAL
from shared.errors import DarkroomError, Fault, InvalidRequest, JobNotFound, WaitTimedOut

RECHECK_SECONDS = 2.0


@dataclass(slots=True, eq=False)
class _Wait:
    """One caller who waits for a job."""

    result: asyncio.Future[Job]
    ends_at_cancel: bool = False
    """Whether a request to cancel the job ends the wait: not if it was there before the wait."""

    def is_over(self, job: Job, *, has_ended: bool) -> bool:
        """Whether the job completes the wait, and it is not complete yet."""
        is_cancelled = self.ends_at_cancel and job.is_cancel_requested
        return (has_ended or is_cancelled) and not self.result.done()


class JobEndWaiter:
    """Completes the waits of one process when jobs have ended, or their cancel is requested."""

    def __init__(self, jobs: JobRepository, subscription: ChangeSubscription) -> None:
        self._jobs = jobs
        self.subscription = subscription
        """The subscription of the process, which others may use as well."""
        self._waiters: defaultdict[UUID, list[_Wait]] = defaultdict(list)
        self._ended: set[UUID] = set()
        self._wake_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        subscription.add(self._receive_changes)

    async def wait(self, job_id: UUID, timeout_seconds: float) -> Job:
        """Wait until the job is terminal and announced, and return it.

        A request during the wait to cancel a job at Kie ends the wait: the job is open then. One
        before it does not, so who repeats the call waits for the end. After the timeout, a job that
        is terminal is returned though its end still waits for copies of its images. Raises
        `WaitTimedOut` and `JobNotFound`.
        """
        _require_seconds(timeout_seconds)
        self._start()
        waiter = _Wait(asyncio.get_running_loop().create_future())
        # Registered before the first read, so that an end between the two is not missed.
        self._waiters[job_id].append(waiter)
        try:
            found = await self._state(job_id)
            if found.has_ended:
                return await self._jobs.get(job_id)
            waiter.ends_at_cancel = not found.is_cancel_requested
            async with asyncio.timeout(timeout_seconds):
                return await waiter.result
        except TimeoutError:
            found = await self._state(job_id)
            if found.state in TERMINAL:
                return await self._jobs.get(job_id)
            raise WaitTimedOut(str(job_id), found.state.value, timeout_seconds) from None
        finally:
            self._remove(job_id, waiter)

    async def _state(self, job_id: UUID) -> ReadState:
        states = await self._jobs.states([job_id])
        if job_id not in states:
            raise JobNotFound(str(job_id))
        return states[job_id]

    def _remove(self, job_id: UUID, waiter: _Wait) -> None:
        self._waiters[job_id].remove(waiter)
        if not self._waiters[job_id]:
            del self._waiters[job_id]

    def _start(self) -> None:
        self.subscription.start()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop the background task."""
        task, self._task = self._task, None
        if task is not None:
            await stop_tasks([task])

    def _receive_changes(self, changes: Sequence[Change]) -> None:
        ended = {change.job_id for change in changes if change.has_ended} & self._waiters.keys()
        if ended:
            self._ended |= ended
            self._wake_up.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        recheck_at = loop.time() + RECHECK_SECONDS
        while True:
            # A fixed time, and not a pause after the last announcement: a steady stream of
            # announcements must not delay the check for lost ones without end.
            with suppress(TimeoutError):
                async with asyncio.timeout_at(recheck_at):
                    await self._wake_up.wait()
            pushed = set(self._ended)
            wanted = pushed
            if loop.time() >= recheck_at:
                wanted = set(self._waiters)
                recheck_at = loop.time() + RECHECK_SECONDS
            self._wake_up.clear()
            self._ended -= wanted
            await self._resolve_waiters(wanted, pushed)

    async def _resolve_waiters(self, wanted: set[UUID], pushed: set[UUID]) -> None:
        """Complete the waits for the pushed jobs, and for those of `wanted` that are over."""
        if not wanted:
            return
        try:
            states = await self._jobs.states(sorted(wanted - pushed)) if wanted - pushed else {}
            read = {job_id for job_id, found in states.items() if found.has_ended}
            ended = pushed | read | self._find_cancelled(states)
            jobs = await self._jobs.get_many(sorted(ended)) if ended else []
        except DarkroomError as error:
            incidents.record_outage(error, doing="watch_ends")
            return
        incidents.record_recovery(POSTGRES)
        found = sum(job.is_terminal and job.id in read for job in jobs)
        if found:
            self.subscription.path.record_found_without_push(found)
        for job in jobs:
            has_ended = job.is_announced or (job.is_terminal and job.id in read)
            for waiter in self._waiters.get(job.id, ()):
                if waiter.is_over(job, has_ended=has_ended):
                    waiter.result.set_result(job)

    def _find_cancelled(self, states: Mapping[UUID, ReadState]) -> set[UUID]:
        """Return the jobs whose cancel was requested during a wait."""
        return {
            job_id
            for job_id, found in states.items()
            if found.is_cancel_requested
            and any(waiter.ends_at_cancel for waiter in self._waiters.get(job_id, ()))
        }


@asynccontextmanager
async def open_end_waiter(
    jobs: JobRepository, delivery_queue: DeliveryQueue
) -> AsyncIterator[JobEndWaiter]:
    """Open a waiter with the subscription of the process, and close both at the end."""
    subscription = ChangeSubscription(delivery_queue)
    waiter = JobEndWaiter(jobs, subscription)
    try:
        yield waiter
    finally:
        await waiter.close()
        await subscription.close()


def _require_seconds(timeout_seconds: object) -> None:
    is_number = isinstance(timeout_seconds, int | float) and not isinstance(timeout_seconds, bool)
    if not is_number or timeout_seconds != timeout_seconds:
        given = f"{timeout_seconds!r:.40}"
        raise InvalidRequest([Fault("timeout_seconds", f"{given} must be a number of seconds")])
