"""Which rows other sessions lock, and when each is tried again.

A statement waits for a lock only briefly. Rows that it could not lock are recorded here. Until such
a row is free, one statement retries it at growing intervals. Every other move that needs the row
raises `RowBusy` with a delay, and uses neither a connection nor a lane slot meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal
from uuid import UUID

import structlog

from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.sqlstates import may_concern_one_row
from shared.domain.job import Job
from shared.errors import DarkroomError, PostgresDown, RowBusy
from worker.backoff import next_return_at
from worker.store.job_cache import GeneratingJob

log = structlog.get_logger(__name__)

RowKind = Literal["account", "job", "jobs_of_account"]
ROW_KINDS: tuple[RowKind, ...] = ("account", "job", "jobs_of_account")
FIRST_WAIT_SECONDS = 0.3
LONGEST_WAIT_SECONDS = 5.0
RETRIES_PER_SECOND = 200
"""The most moves that wait for one row and return within a second."""
MAX_RETRY_DELAY_SECONDS = 120.0
MAX_SEPARATE_CONNECTIONS = 3
"""The most connections, of the ten of a worker, that may wait for rows which were found to be
locked."""
_MOST_KEPT = 20_000
_FORGOTTEN_AFTER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RowRef:
    """A row that may be locked: of an account, of a job, or of several jobs of one account."""

    kind: RowKind
    id: str

    def __str__(self) -> str:
        match self.kind:
            case "account":
                return f"the row of account {self.id!r}"
            case "job":
                return f"the row of job {self.id}"
            case "jobs_of_account":
                return f"what the jobs of account {self.id!r} need"


@dataclass(frozen=True, slots=True)
class RequiredRows:
    """The rows that the move of one job requires."""

    job_id: UUID
    account_id: str
    moves_money: bool

    @classmethod
    def of(cls, job: Job | GeneratingJob, *, moves_money: bool = False) -> RequiredRows:
        """Return the rows that a move of this job requires."""
        return cls(job.id, job.account_id, moves_money)

    @property
    def rows(self) -> tuple[RowRef, ...]:
        """Every row whose lock may delay the move."""
        own = (RowRef("job", str(self.job_id)), RowRef("jobs_of_account", self.account_id))
        return (*own, RowRef("account", self.account_id)) if self.moves_money else own


@dataclass(slots=True)
class _BusyState:
    since: float
    tries: int
    next_try_at: float
    last_retry_at: float


class BusyRows:
    """The rows that one worker could not lock, in memory."""

    def __init__(
        self,
        *,
        on_busy: Callable[[str], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self._on_busy = on_busy
        self._monotonic = monotonic
        self._random = random or Random()  # noqa: S311
        self.separate_connections = asyncio.Semaphore(MAX_SEPARATE_CONNECTIONS)
        """Acquired by each statement that may have to wait for a row which other moves do
        not need."""
        self._busy_rows: dict[RowRef, _BusyState] = {}
        self._waiting: dict[UUID, RequiredRows] = {}

    def count(self, kind: str) -> int:
        """Return how many rows of that kind are locked, as far as is known here."""
        self._forget_old()
        return sum(row.kind == kind for row in self._busy_rows)

    def is_busy(self, required: RequiredRows) -> bool:
        """Return whether a row that the move requires is known to be locked."""
        return bool(self._busy_of(required))

    def start_retry(self, required: RequiredRows) -> bool:
        """Return whether this move is the retry of a row that is known to be locked.

        Such a move is written alone, and its outcome is reported with `mark_busy` or `mark_free`.
        Raises `RowBusy` where it is not yet time for a retry.
        """
        busy = self._busy_of(required)
        if not busy:
            return False
        now = self._monotonic()
        if any(state.next_try_at > now for _, state in busy):
            raise self._busy(required, busy, now)
        for _, state in busy:
            # A move that comes during this retry is not the next one.
            state.next_try_at = now + LONGEST_WAIT_SECONDS
        return True

    def raise_if_still_busy(self, job_id: UUID) -> None:
        """Raise `RowBusy` for a job that waits for a row which is still locked."""
        required = self._waiting.get(job_id)
        if required is None:
            return
        now = self._monotonic()
        busy = self._busy_of(required)
        if any(state.next_try_at > now for _, state in busy):
            raise self._busy(required, busy, now)

    def mark_busy(self, rows: Iterable[RowRef]) -> None:
        """Record rows that a statement could not lock."""
        now = self._monotonic()
        for row in rows:
            state = self._busy_rows.get(row)
            if state is None:
                self._forget_some()
                state = self._busy_rows[row] = _BusyState(now, 0, now, now)
                if self._on_busy is not None:
                    self._on_busy(row.kind)
                log.warning("row_busy", kind=row.kind, id=row.id, meaning="held by another session")
            wait_seconds = min(FIRST_WAIT_SECONDS * 2**state.tries, LONGEST_WAIT_SECONDS)
            state.tries += 1
            state.next_try_at = now + wait_seconds * (0.75 + self._random.random() / 2)

    def error_for(self, required: RequiredRows) -> RowBusy:
        """Return the error of a move whose rows were just found to be locked."""
        busy = self._busy_of(required)
        if not busy:
            return RowBusy(
                f"a row that job {required.job_id} needs", wait_seconds=FIRST_WAIT_SECONDS
            )
        return self._busy(required, busy, self._monotonic())

    def mark_free(self, required: RequiredRows) -> None:
        """Record that a move could lock all its rows."""
        self._waiting.pop(required.job_id, None)
        if not self._busy_rows:
            return
        for row in required.rows:
            state = self._busy_rows.pop(row, None)
            if state is not None:
                seconds = round(self._monotonic() - state.since, 3)
                log.info("row_free", kind=row.kind, id=row.id, after_seconds=seconds)

    def _busy_of(self, required: RequiredRows) -> list[tuple[RowRef, _BusyState]]:
        if not self._busy_rows:
            return []
        return [(row, self._busy_rows[row]) for row in required.rows if row in self._busy_rows]

    def _busy(
        self, required: RequiredRows, busy: list[tuple[RowRef, _BusyState]], now: float
    ) -> RowBusy:
        self._waiting[required.job_id] = required
        row, state = max(busy, key=lambda one: one[1].next_try_at)
        state.last_retry_at = next_return_at(
            state.last_retry_at,
            earliest=state.next_try_at,
            spacing_seconds=1 / RETRIES_PER_SECOND,
            latest=now + MAX_RETRY_DELAY_SECONDS,
        )
        return RowBusy(str(row), wait_seconds=max(state.last_retry_at - now, 0.05))

    def _forget_old(self) -> None:
        # The jobs of the row have ended elsewhere, or no move has needed it since.
        oldest = self._monotonic() - _FORGOTTEN_AFTER_SECONDS
        for row in [row for row, state in self._busy_rows.items() if state.last_retry_at < oldest]:
            del self._busy_rows[row]

    def _forget_some(self) -> None:
        self._forget_old()
        if len(self._busy_rows) >= _MOST_KEPT:
            self._busy_rows.clear()
        if len(self._waiting) >= _MOST_KEPT:
            self._waiting.clear()


async def find_locked_rows(queries: Queries, required: Sequence[RequiredRows]) -> set[RowRef]:
    """Return which rows of these moves another session locks now."""
    rows = await queries.fetch("held_rows", [one.job_id for one in required])
    busy = {RowRef("job", str(row["id"])) for row in rows if row["job_is_held"]}
    busy |= {RowRef("account", row["account_id"]) for row in rows if row["account_is_held"]}
    return busy.intersection(row for one in required for row in one.rows)


def raise_if_server_failed(error: DarkroomError) -> None:
    """Raise the error unless a single row may have caused it and nothing was written."""
    if isinstance(error, PostgresDown) and (
        error.sqlstate is None or not may_concern_one_row(error.sqlstate)
    ):
        raise error
