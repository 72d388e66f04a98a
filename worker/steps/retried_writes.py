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
from worker.dependencies import Deps
from worker.poll_timing import backoff_seconds
from worker.queue.delivery_run import slot_given_up
from worker.recovery.task_id_backup import PLACES, Evidence

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 5.0

Write = Callable[[], Awaitable[Job]]


async def insist(deps: Deps, write: Write, *, may_be_put_off: bool = False) -> Job:
    """Write, and while Postgres cannot, keep trying. Raises what the write raises otherwise.

    So it is where another session holds the row; but what may be put off raises `RowBusy` then,
    unless an earlier try may have been written.
    """
    tries = 0
    while True:
        try:
            moved = await write()
        except DependencyDown as error:
            if may_be_put_off and tries == 0 and isinstance(error, RowBusy):
                raise
            tries += 1
            _note_failure(error, "store_answer")
            await _pause(deps, tries)
        else:
            return _stored(deps, moved)


async def insist_on_task(deps: Deps, evidence: Evidence, write: Write) -> Job:
    """Write the task id of a paid task, and while Postgres cannot, keep it as evidence.

    The evidence stays where the process ends first, which is said at ERROR with the task id.
    """
    safe = _Safekeeping(deps, evidence)
    tries = 0
    try:
        while True:
            try:
                moved = await write()
            except DependencyDown as error:
                tries += 1
                _note_failure(error, "store_task_id")
                await safe.keep(error)
                await _pause(deps, tries)
            else:
                await safe.forget()
                return _stored(deps, moved)
    except asyncio.CancelledError:
        log.error("task_id_not_stored", **safe.facts, tries=tries)
        raise
    except StaleJob:
        # Postgres has it, as the job's task or on the attempt alone.
        await safe.forget()
        raise
    finally:
        safe.close()


class _Safekeeping:
    """The evidence of one task id, from the moment that it is slow or fails to be stored."""

    def __init__(self, deps: Deps, evidence: Evidence) -> None:
        self._store, self._evidence = deps.evidence, evidence
        self._kept: frozenset[str] = frozenset()
        self._is_told = False
        self._early: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._store.keep_after_seconds, self._keep_early)

    @property
    def facts(self) -> dict[str, object]:
        """What a person needs to find the task."""
        return {**self._evidence.facts, "kept_in": sorted(self._kept)}

    async def keep(self, error: Exception) -> None:
        """Keep it wherever it is not kept yet."""
        self._timer.cancel()
        if not self._is_told:
            # Before anything else can go wrong.
            self._is_told = True
            log.error("task_id_not_stored_yet", **self.facts, error=str(error))
        if len(self._kept) < len(PLACES):
            self._kept |= await self._store.keep(self._evidence)

    async def forget(self) -> None:
        """Take it away again."""
        self._timer.cancel()
        if self._early is not None:
            await self._early
        if self._kept:
            await self._store.forget(self._evidence)

    def close(self) -> None:
        """Keep nothing any more."""
        self._timer.cancel()

    def _keep_early(self) -> None:
        seconds = self._store.keep_after_seconds
        error = TimeoutError(f"Postgres has not answered for {seconds:g} s")
        self._early = asyncio.create_task(self.keep(error))


def _note_failure(error: DependencyDown, doing: str) -> None:
    # A row that is held is told once by who finds it, and the server is not down.
    if not isinstance(error, RowBusy):
        incidents.record_outage(error, doing=doing)


async def _pause(deps: Deps, tries: int) -> None:
    """Wait before the next try, without a slot of the lane."""
    random = deps.random.random()
    with slot_given_up():
        await deps.sleep(backoff_seconds(tries, random, first=0.2, longest=_LONGEST_PAUSE_SECONDS))


def _stored(deps: Deps, moved: Job) -> Job:
    incidents.record_recovery(POSTGRES)
    deps.announce(Change(moved.id))
    return moved
