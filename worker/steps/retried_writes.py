"""Repeats a write to Postgres until it is stored.

A response of Kie is known only to this process, so a write is repeated for as long as the process
lives. The id of a paid task is also backed up outside the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.redis.change_messages import Change
from shared.domain.job import Job
from shared.errors import DependencyDown, RowBusy, StaleJob
from worker.backoff import backoff_seconds
from worker.dependencies import Dependencies
from worker.queue.delivery_run import DeliveryRun
from worker.recovery.task_id_backup import BACKUP_PLACES, PaidTask

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 5.0

StoreWrite = Callable[[], Awaitable[Job]]


async def write_until_stored(
    deps: Dependencies, run: DeliveryRun, write: StoreWrite, *, raise_if_busy: bool = False
) -> Job:
    """Write, and repeat while Postgres is down or another session locks the row.

    With `raise_if_busy` a locked row raises `RowBusy`, unless an earlier try may have been written.
    Raises every other error of the write.
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
            await _pause(deps, run, tries)
        else:
            return _stored(deps, moved)


async def write_task_id_until_stored(
    deps: Dependencies, run: DeliveryRun, paid_task: PaidTask, write: StoreWrite
) -> Job:
    """Write the id of a paid task. While Postgres cannot store it, back it up.

    The backup stays where the process ends first. The task id is then logged at ERROR.
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
                await _pause(deps, run, tries)
            else:
                await safe.remove()
                return _stored(deps, moved)
    except asyncio.CancelledError:
        log.error("task_id_not_stored", **safe.log_fields, tries=tries)
        raise
    except StaleJob:
        # Postgres has the task id, as the task of the job or on the attempt alone.
        await safe.remove()
        raise
    finally:
        safe.close()


class _PendingBackup:
    """The backup of one task id, from the time that its write is slow or fails."""

    def __init__(self, deps: Dependencies, paid_task: PaidTask) -> None:
        self._store, self._paid_task = deps.task_id_backup, paid_task
        self._saved_in: frozenset[str] = frozenset()
        self._is_logged = False
        self._early: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._store.back_up_after_seconds, self._back_up_when_slow)

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields by which a person finds the task."""
        return {**self._paid_task.log_fields, "kept_in": sorted(self._saved_in)}

    async def save(self, error: Exception) -> None:
        """Back the task id up in each place where it is not yet."""
        self._timer.cancel()
        if not self._is_logged:
            # Logged first, because the backup may fail.
            self._is_logged = True
            log.error("task_id_not_stored_yet", **self.log_fields, error=str(error))
        if len(self._saved_in) < len(BACKUP_PLACES):
            self._saved_in |= await self._store.save(self._paid_task)

    async def remove(self) -> None:
        """Remove the backup."""
        self._timer.cancel()
        if self._early is not None:
            await self._early
        if self._saved_in:
            await self._store.remove(self._paid_task)

    def close(self) -> None:
        """Start no backup any more."""
        self._timer.cancel()

    def _back_up_when_slow(self) -> None:
        seconds = self._store.back_up_after_seconds
        error = TimeoutError(f"Postgres has not answered for {seconds:g} s")
        self._early = asyncio.create_task(self.save(error))


def _note_failure(error: DependencyDown, doing: str) -> None:
    # A busy row is logged once by `BusyRows`, and the server is not down.
    if not isinstance(error, RowBusy):
        incidents.record_outage(error, doing=doing)


async def _pause(deps: Dependencies, run: DeliveryRun, tries: int) -> None:
    """Wait before the next try, without a lane slot."""
    random = deps.random.random()
    with run.without_slot():
        await deps.sleep(backoff_seconds(tries, random, first=0.2, longest=_LONGEST_PAUSE_SECONDS))


def _stored(deps: Dependencies, moved: Job) -> Job:
    incidents.record_recovery(POSTGRES)
    deps.publish_change(Change(moved.id))
    return moved
