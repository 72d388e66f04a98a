"""Waits for jobs to end: Redis announces ends, and a query checks Postgres every two seconds.

All waits of a process share one subscription and one query. A lost announcement delays a wait by
at most two seconds.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from producer.jobs.job_repository import JobRepository, ReadState
from producer.live.change_subscription import ChangeSubscription
from shared.adapters.async_tasks import stop_tasks
from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.redis.change_messages import Change
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.domain.job import Job
from shared.domain.lifecycle import TERMINAL
from shared.errors import DarkroomError, JobNotFound, WaitTimedOut

RECHECK_SECONDS = 2.0


class JobEndWaiter:
    """Completes the waits of one process when their jobs have ended."""

    def __init__(self, jobs: JobRepository, subscription: ChangeSubscription) -> None:
        self._jobs = jobs
        self.subscription = subscription
        """The subscription of the process, which others may use as well."""
        self._waiters: defaultdict[UUID, list[asyncio.Future[Job]]] = defaultdict(list)
        self._ended: set[UUID] = set()
        self._wake_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        subscription.add(self._receive_changes)

    async def wait(self, job_id: UUID, timeout_seconds: float) -> Job:
        """Wait until the job is terminal and announced, and return it.

        After the timeout, a job that is terminal is returned though its end still waits for copies
        of its images. Raises `WaitTimedOut` and `JobNotFound`.
        """
        self._start()
        waiter: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        # Registered before the first read, so that an end between the two is not missed.
        self._waiters[job_id].append(waiter)
        try:
            if (await self._state(job_id)).has_ended:
                return await self._jobs.get(job_id)
            async with asyncio.timeout(timeout_seconds):
                return await waiter
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

    def _remove(self, job_id: UUID, waiter: asyncio.Future[Job]) -> None:
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
        """Complete the waits for the pushed jobs, and for those of `wanted` that have ended."""
        if not wanted:
            return
        try:
            states = await self._jobs.states(sorted(wanted - pushed)) if wanted - pushed else {}
            read = {job_id for job_id, found in states.items() if found.has_ended}
            ended = pushed | read
            jobs = await self._jobs.get_many(sorted(ended)) if ended else []
        except DarkroomError as error:
            incidents.record_outage(error, doing="watch_ends")
            return
        incidents.record_recovery(POSTGRES)
        found = sum(job.is_terminal and job.id in read for job in jobs)
        if found:
            self.subscription.path.record_found_without_push(found)
        for job in jobs:
            if job.is_announced or (job.is_terminal and job.id in read):
                for waiter in self._waiters.get(job.id, ()):
                    if not waiter.done():
                        waiter.set_result(job)


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
