"""Which rows another session holds, as far as this worker knows, and when each is tried again.

A statement waits for a lock only briefly. What it could not have is noted here: until the row is
free, one statement at growing intervals tries it, and everything else that needs the row is told
when to come back, without a connection and without a slot of its lane.
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

log = structlog.get_logger(__name__)

Kind = Literal["account", "job", "jobs_of_account"]
KINDS: tuple[Kind, ...] = ("account", "job", "jobs_of_account")
FIRST_WAIT_SECONDS = 0.3
LONGEST_WAIT_SECONDS = 5.0
RETURNS_PER_SECOND = 200
"""Of those that wait for one row, at most so many come back in a second."""
LONGEST_LINE_SECONDS = 120.0
APART_AT_ONCE = 3
"""Of a worker's ten connections, as many may wait for rows that were found to be held."""
_MOST_KEPT = 20_000
_FORGOTTEN_AFTER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Row:
    """A row that may be held: an account's, a job's, or more of one account's jobs than one."""

    kind: Kind
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
class Needs:
    """What the move of one job needs."""

    job_id: UUID
    account_id: str
    moves_money: bool

    @classmethod
    def of(cls, job: Job, *, moves_money: bool = False) -> Needs:
        """Return what a move of this job needs."""
        return cls(job.id, job.account_id, moves_money)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every row that may keep the move from being written."""
        own = (Row("job", str(self.job_id)), Row("jobs_of_account", self.account_id))
        return (*own, Row("account", self.account_id)) if self.moves_money else own


@dataclass(slots=True)
class _Held:
    since: float
    tries: int
    next_try_at: float
    last_return_at: float


class BusyRows:
    """The rows that one worker could not have, in memory."""

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
        self.apart = asyncio.Semaphore(APART_AT_ONCE)
        """Held by each statement that may have to wait for a row which others do not need."""
        self._held: dict[Row, _Held] = {}
        self._waiting: dict[UUID, Needs] = {}

    def count(self, kind: str) -> int:
        """Return how many rows of that kind are held now, as far as is known here."""
        self._forget_old()
        return sum(row.kind == kind for row in self._held)

    def holds(self, needs: Needs) -> bool:
        """Return whether a row that the move needs is known to be held."""
        return bool(self._held_of(needs))

    def admit(self, needs: Needs) -> bool:
        """Return whether this move is the try of a row that is known to be held.

        Such a move goes by itself, and its outcome is noted by `note_held` or `note_free`. Raises
        `RowBusy` where it is not yet time for a try.
        """
        held = self._held_of(needs)
        if not held:
            return False
        now = self._monotonic()
        if any(state.next_try_at > now for _, state in held):
            raise self._busy(needs, held, now)
        for _, state in held:
            # Whoever comes while this try is under way is not the next one.
            state.next_try_at = now + LONGEST_WAIT_SECONDS
        return True

    def keep_waiting(self, job_id: UUID) -> None:
        """Raise `RowBusy` for a job that has waited for a row which is still held."""
        needs = self._waiting.get(job_id)
        if needs is None:
            return
        now = self._monotonic()
        held = self._held_of(needs)
        if any(state.next_try_at > now for _, state in held):
            raise self._busy(needs, held, now)

    def note_held(self, rows: Iterable[Row]) -> None:
        """Note which rows one statement could not have."""
        now = self._monotonic()
        for row in rows:
            state = self._held.get(row)
            if state is None:
                self._forget_some()
                state = self._held[row] = _Held(now, 0, now, now)
                if self._on_busy is not None:
                    self._on_busy(row.kind)
                log.warning("row_busy", kind=row.kind, id=row.id, meaning="held by another session")
            wait_seconds = min(FIRST_WAIT_SECONDS * 2**state.tries, LONGEST_WAIT_SECONDS)
            state.tries += 1
            state.next_try_at = now + wait_seconds * (0.75 + self._random.random() / 2)

    def error_for(self, needs: Needs) -> RowBusy:
        """Return what a move is told whose rows were just found to be held."""
        held = self._held_of(needs)
        if not held:
            return RowBusy(f"a row that job {needs.job_id} needs", wait_seconds=FIRST_WAIT_SECONDS)
        return self._busy(needs, held, self._monotonic())

    def note_free(self, needs: Needs) -> None:
        """Note that a move has had all that it needs."""
        self._waiting.pop(needs.job_id, None)
        if not self._held:
            return
        for row in needs.rows:
            state = self._held.pop(row, None)
            if state is not None:
                seconds = round(self._monotonic() - state.since, 3)
                log.info("row_free", kind=row.kind, id=row.id, after_seconds=seconds)

    def _held_of(self, needs: Needs) -> list[tuple[Row, _Held]]:
        if not self._held:
            return []
        return [(row, self._held[row]) for row in needs.rows if row in self._held]

    def _busy(self, needs: Needs, held: list[tuple[Row, _Held]], now: float) -> RowBusy:
        self._waiting[needs.job_id] = needs
        row, state = max(held, key=lambda one: one[1].next_try_at)
        # Each takes the next place in line: ten thousand do not come back in one moment.
        state.last_return_at = min(
            max(state.last_return_at, state.next_try_at) + 1 / RETURNS_PER_SECOND,
            now + LONGEST_LINE_SECONDS,
        )
        return RowBusy(str(row), wait_seconds=max(state.last_return_at - now, 0.05))

    def _forget_old(self) -> None:
        # Its jobs have ended elsewhere, or nobody has needed it since.
        oldest = self._monotonic() - _FORGOTTEN_AFTER_SECONDS
        for row in [row for row, state in self._held.items() if state.last_return_at < oldest]:
            del self._held[row]

    def _forget_some(self) -> None:
        self._forget_old()
        if len(self._held) >= _MOST_KEPT:
            self._held.clear()
        if len(self._waiting) >= _MOST_KEPT:
            self._waiting.clear()


async def find_held(queries: Queries, needs: Sequence[Needs]) -> set[Row]:
    """Return which rows of these moves another session holds at this moment."""
    rows = await queries.fetch("held_rows", [one.job_id for one in needs])
    held = {Row("job", str(row["id"])) for row in rows if row["job_is_held"]}
    held |= {Row("account", row["account_id"]) for row in rows if row["account_is_held"]}
    return held.intersection(row for one in needs for row in one.rows)


def raise_if_of_all(error: DarkroomError) -> None:
    """Raise what no single row has caused, and what may have been written all the same."""
    if isinstance(error, PostgresDown) and (
        error.sqlstate is None or not may_concern_one_row(error.sqlstate)
    ):
        raise error
