"""What one worker has learned: how long each kind of task takes, and when to look therefore."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from shared.domain.job import Job

from .next_poll import (
    PollObservation,
    PollPlan,
    first_poll_delay_seconds,
    previous_poll_seconds,
    seconds_until_next_poll,
)
from .optimal_plan import POLL_COST_IN_LAG_SECONDS, WINDOW_LENGTH, plan_polls
from .signal_trust import ProgressAccuracy

_SIGHTINGS_MAX = 20_000
_LEAST_SECONDS = 0.01
OVERDUE_LEAST_SECONDS = 300.0
OVERDUE_UNLEARNED_SECONDS = 600.0
_OVERDUE_FACTOR = 5.0
"""A task is overdue after so many times the longest of its kind."""
_CLOCK_SLACK_SECONDS = 1.0
"""By so much Kie's clock may differ from ours before it is not believed: some dates are whole."""


class TaskKind(NamedTuple):
    """What is expected to take equally long."""

    model: str
    task: str
    quantity: int

    @classmethod
    def of(cls, job: Job) -> TaskKind:
        """Return the kind of the job's task."""
        return cls(job.model, job.task, job.quantity)


class CompletionTime(NamedTuple):
    """One task that succeeded, so many seconds after Kie gave its id."""

    kind: TaskKind
    seconds: float


@dataclass(frozen=True, slots=True)
class SuccessTiming:
    """How a success was found; all in seconds since Kie gave the task id."""

    observed_seconds: float
    reported_seconds: float | None
    """When it was done by Kie's own clock; None where Kie does not say."""
    position: float = 0.5
    """0 to 1, drawn evenly: where between two poll_times the end is put that nobody dates."""


@dataclass(slots=True)
class _KindState:
    window: tuple[float, ...] = ()
    poll_times: tuple[float, ...] = ()
    planned_from: tuple[float, ...] = ()
    overdue_seconds: float = 0.0
    """0: nothing is known of it yet."""
    progress_accuracy: ProgressAccuracy = field(default_factory=ProgressAccuracy)


class PollPlanner:
    """Answers when to look next, and is told what the poll_times found. Does no input or output.

    Completions are gathered until `take_new_completions`; what all workers saw comes back by `load_windows`, and
    `replan` makes plans of it. Between two plans an answer is a look-up in a table.
    """

    def __init__(
        self,
        poll_cost_in_lag_seconds: float = POLL_COST_IN_LAG_SECONDS,
        overdue_unlearned_seconds: float = OVERDUE_UNLEARNED_SECONDS,
    ) -> None:
        self._poll_is_worth_seconds = poll_cost_in_lag_seconds
        self._overdue_unlearned_seconds = overdue_unlearned_seconds
        self._lag_factor = 1.0
        self._kinds: dict[TaskKind, _KindState] = {}
        self._fresh: list[CompletionTime] = []
        self._sightings: dict[UUID, PollObservation] = {}
        self._was_used = False

    # --- asked by the steps -----------------------------------------------------------------

    def first_poll_delay_seconds(self, kind: TaskKind) -> float:
        """Return how long after the task id to look for the first time."""
        self._was_used = True
        return first_poll_delay_seconds(self._known(kind))

    def seconds_until_next_poll(
        self,
        kind: TaskKind,
        sighting: PollObservation,
        seconds_to_deadline: float,
        interval_factor: float = 1.0,
    ) -> float:
        """Return how long to wait before asking again; see the function of that name."""
        return seconds_until_next_poll(
            sighting, seconds_to_deadline, interval_factor, self._known(kind)
        )

    def overdue_seconds(self, kind: TaskKind) -> float:
        """Return after how long a task of this kind takes far longer than any did."""
        experience = self._kinds.get(kind)
        learned_seconds = 0.0 if experience is None else experience.overdue_seconds
        return learned_seconds or self._overdue_unlearned_seconds

    # --- told by the steps ------------------------------------------------------------------

    def record_pending(self, job_id: UUID, sighting: PollObservation) -> None:
        """Note that the task was still generating."""
        self._was_used = True
        self._sightings.pop(job_id, None)
        if len(self._sightings) >= _SIGHTINGS_MAX:
            del self._sightings[next(iter(self._sightings))]
        self._sightings[job_id] = sighting

    def record_success(self, job_id: UUID, kind: TaskKind, ending: SuccessTiming) -> None:
        """Learn from a success.

        Kie's clock is believed within what our own poll_times saw: not before the last look that found
        the task generating, not after the one that found it done. Where Kie does not say when, or
        its clock is plainly wrong, the end is put somewhere between the two.
        """
        self._was_used = True
        last = self._sightings.pop(job_id, None)
        seconds = max(self._dated(kind, ending, last), _LEAST_SECONDS)
        self.return_completions([CompletionTime(kind, seconds)])
        if last is not None:
            self._kinds.setdefault(kind, _KindState()).progress_accuracy.record(last, seconds)

    def _dated(self, kind: TaskKind, ending: SuccessTiming, last: PollObservation | None) -> float:
        found, said = ending.observed_seconds, ending.reported_seconds
        after = min(last.elapsed_seconds, found) if last is not None else 0.0
        slack = _CLOCK_SLACK_SECONDS
        if said is not None and after - slack <= said <= found + slack:
            return min(max(said, after), found)
        if last is None:  # the last look was another worker's, or there was none
            after = previous_poll_seconds(found, self._known(kind))
        return after + ending.position * (found - after)

    def forget(self, job_id: UUID) -> None:
        """Drop what was seen of a job that ended otherwise."""
        self._sightings.pop(job_id, None)

    # --- shared with other workers ----------------------------------------------------------

    def take_used(self) -> bool:
        """Return whether it was used since the last call: a worker at rest need not share."""
        was_used, self._was_used = self._was_used, False
        return was_used

    def take_new_completions(self) -> list[CompletionTime]:
        """Return the completions seen since the last call, oldest first."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def return_completions(self, completions: Iterable[CompletionTime]) -> None:
        """Keep completions until the next `take_new_completions`; of too many, the newest."""
        self._fresh.extend(completions)
        if len(self._fresh) > 10 * WINDOW_LENGTH:
            del self._fresh[: -5 * WINDOW_LENGTH]

    def load_windows(self, windows: Mapping[TaskKind, Iterable[float]]) -> list[TaskKind]:
        """Take over what all workers saw, oldest first; returns the kinds that need a new plan."""
        for kind, seconds in windows.items():
            experience = self._kinds.setdefault(kind, _KindState())
            experience.window = tuple(seconds)[-WINDOW_LENGTH:]
            longest_seconds = max(experience.window, default=0.0)
            if longest_seconds > 0:
                experience.overdue_seconds = max(
                    longest_seconds * _OVERDUE_FACTOR, OVERDUE_LEAST_SECONDS
                )
        return [kind for kind, known in self._kinds.items() if known.window != known.planned_from]

    def set_lag_factor(self, lag_factor: float) -> list[TaskKind]:
        """Let a poll be worth so many times the usual lag, from the next plans on; returns the
        kinds that need a new one.
        """
        self._lag_factor = lag_factor
        return [kind for kind, known in self._kinds.items() if known.poll_times]

    def replan(self, kind: TaskKind) -> None:
        """Make the plan of one kind from its window; takes a few milliseconds."""
        experience = self._kinds[kind]
        cost_seconds = self._poll_is_worth_seconds * self._lag_factor
        experience.poll_times = plan_polls(experience.window, cost_seconds)
        experience.planned_from = experience.window

    def _known(self, kind: TaskKind) -> PollPlan:
        experience = self._kinds.get(kind)
        if experience is None:
            return PollPlan()
        return PollPlan(experience.poll_times, experience.progress_accuracy.error)
