"""Waits for jobs to end: pushed over Redis, with a look into Postgres every two seconds.

One subscription and one query serve all waits of a process. A lost push costs two seconds.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import structlog

from producer.job_book import JobBook
from shared.adapters.background import stop_tasks
from shared.adapters.delivery import END_CHANNEL, Delivery, listening
from shared.domain.job import Job
from shared.errors import DarkroomError, RedisDown, WaitTimedOut

log = structlog.get_logger(__name__)

RECHECK_SECONDS = 2.0


class EndWatch:
    """Tells waiters of one process when their jobs have ended."""

    def __init__(self, book: JobBook, delivery: Delivery) -> None:
        self._book = book
        self._delivery = delivery
        self._waiters: defaultdict[UUID, list[asyncio.Future[Job]]] = defaultdict(list)
        self._ended: set[UUID] = set()
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def wait(self, job_id: UUID, timeout_seconds: float) -> Job:
        """Return the job once it is terminal; raises `WaitTimedOut`, `JobNotFound`."""
        self._start()
        waiter: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        # Registered before the look, so that an end between the two is not missed.
        self._waiters[job_id].append(waiter)
        try:
            job = await self._book.get(job_id)
            if job.is_terminal:
                return job
            async with asyncio.timeout(timeout_seconds):
                return await waiter
        except TimeoutError:
            job = await self._book.get(job_id)
            if job.is_terminal:
                return job
            raise WaitTimedOut(str(job_id), job.state.value, timeout_seconds) from None
        finally:
            self._forget(job_id, waiter)

    def _forget(self, job_id: UUID, waiter: asyncio.Future[Job]) -> None:
        self._waiters[job_id].remove(waiter)
        if not self._waiters[job_id]:
            del self._waiters[job_id]

    def _start(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._look())]

    async def close(self) -> None:
        """Stop listening."""
        tasks, self._tasks = self._tasks, []
        await stop_tasks(tasks)

    async def _listen(self) -> None:
        while True:
            try:
                async with listening(self._delivery.redis, END_CHANNEL) as messages:
                    async for text in messages:
                        self._note(text)
            except RedisDown as error:
                # The look every two seconds carries on alone.
                log.warning("end_watch_interrupted", error=str(error))
                await asyncio.sleep(RECHECK_SECONDS)

    def _note(self, text: str) -> None:
        try:
            job_id = UUID(text)
        except ValueError:
            log.warning("end_watch_misunderstood", message=text[:80])
            return
        if job_id in self._waiters:
            self._ended.add(job_id)
            self._news.set()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        look_at = loop.time() + RECHECK_SECONDS
        while True:
            # A moment, not a pause since the last push: a steady stream of pushes must not put
            # off for ever the look at those whose push was lost.
            with suppress(TimeoutError):
                async with asyncio.timeout_at(look_at):
                    await self._news.wait()
            if loop.time() >= look_at:
                wanted = set(self._waiters)
                look_at = loop.time() + RECHECK_SECONDS
            else:
                wanted = set(self._ended)
            self._news.clear()
            self._ended -= wanted
            await self._answer(wanted)

    async def _answer(self, wanted: set[UUID]) -> None:
        if not wanted:
            return
        try:
            jobs = await self._book.get_many(sorted(wanted))
        except DarkroomError as error:
            log.warning("end_watch_put_off", error=str(error))
            return
        for job in jobs:
            if job.is_terminal:
                for waiter in self._waiters.get(job.id, ()):
                    if not waiter.done():
                        waiter.set_result(job)


@asynccontextmanager
async def watching_ends(book: JobBook, delivery: Delivery) -> AsyncIterator[EndWatch]:
    """Open a watch and close it at the end."""
    watch = EndWatch(book, delivery)
    try:
        yield watch
    finally:
        await watch.close()
