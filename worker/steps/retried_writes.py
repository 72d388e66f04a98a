"""Stores what Kie has answered, however long Postgres cannot: it is known nowhere else.

Every answer is insisted upon for as long as the process lives. A task id, which has been paid for,
is also kept as evidence outside the process, so that it outlives it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.redis.change_messages import Change
from shared.domain.job import Job
from shared.errors import DependencyDown, RowBusy, StaleJob
from worker.dependencies import Dependencies
from worker.poll_timing import backoff_seconds
from worker.queue.delivery_run import slot_given_up
from worker.recovery.task_id_backup import BACKUP_PLACES, PaidTask

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 5.0

StoreWrite = Callable[[], Awaitable[Job]]


async def write_until_stored(
    deps: Dependencies, write: StoreWrite, *, raise_if_busy: bool = False
) -> Job:
    """Write, and while Postgres cannot, keep trying. Raises what the write raises otherwise.

    So it is where another session holds the row; but what may be put off raises `RowBusy` then,
    unless an earlier try may have been written.
    """
    tries = 0
    while True:
        try:
            moved = await write()
        except DependencyDown as error:
            if raise_if_busy and tries == 0 and isinstance(error, RowBusy):
                raise
            tries += 1
            _note_failure(error, "store_answer")
            await _pause(deps, tries)
        else:
            return _stored(deps, moved)


async def write_task_id_until_stored(
    deps: Dependencies, paid_task: PaidTask, write: StoreWrite
) -> Job:
    """Write the task id of a paid task, and while Postgres cannot, keep it as evidence.

    The evidence stays where the process ends first, which is said at ERROR with the task id.
    """
    safe = _PendingBackup(deps, paid_task)
    tries = 0
    try:
        while True:
            try:
                moved = await write()
            except DependencyDown as error:
                tries += 1
                _note_failure(error, "store_task_id")
                await safe.save(error)
                await _pause(deps, tries)
            else:
                await safe.remove()
                return _stored(deps, moved)
    except asyncio.CancelledError:
        log.error("task_id_not_stored", **safe.log_fields, tries=tries)
        raise
    except StaleJob:
        # Postgres has it, as the job's task or on the attempt alone.
        await safe.remove()
        raise
    finally:
        safe.close()


class _PendingBackup:
    """The evidence of one task id, from the moment that it is slow or fails to be stored."""

    def __init__(self, deps: Dependencies, paid_task: PaidTask) -> None:
        self._store, self._paid_task = deps.task_id_backup, paid_task
        self._kept: frozenset[str] = frozenset()
        self._is_logged = False
        self._early: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._store.back_up_after_seconds, self._back_up_when_slow)

    @property
    def log_fields(self) -> dict[str, object]:
        """What a person needs to find the task."""
        return {**self._paid_task.log_fields, "kept_in": sorted(self._kept)}

    async def save(self, error: Exception) -> None:
        """Keep it wherever it is not kept yet."""
        self._timer.cancel()
        if not self._is_logged:
            # Before anything else can go wrong.
            self._is_logged = True
            log.error("task_id_not_stored_yet", **self.log_fields, error=str(error))
        if len(self._kept) < len(BACKUP_PLACES):
            self._kept |= await self._store.save(self._paid_task)

    async def remove(self) -> None:
        """Take it away again."""
        self._timer.cancel()
        if self._early is not None:
            await self._early
        if self._kept:
            await self._store.remove(self._paid_task)

    def close(self) -> None:
        """Keep nothing any more."""
        self._timer.cancel()

    def _back_up_when_slow(self) -> None:
        seconds = self._store.back_up_after_seconds
        error = TimeoutError(f"Postgres has not answered for {seconds:g} s")
        self._early = asyncio.create_task(self.save(error))


def _note_failure(error: DependencyDown, doing: str) -> None:
    # A row that is held is told once by who finds it, and the server is not down.
    if not isinstance(error, RowBusy):
        incidents.record_outage(error, doing=doing)


async def _pause(deps: Dependencies, tries: int) -> None:
    """Wait before the next try, without a slot of the lane."""
    random = deps.random.random()
    with slot_given_up():
        await deps.sleep(backoff_seconds(tries, random, first=0.2, longest=_LONGEST_PAUSE_SECONDS))


def _stored(deps: Dependencies, moved: Job) -> Job:
    incidents.record_recovery(POSTGRES)
    deps.publish_change(Change(moved.id))
    return moved
