"""Many tasks under one timetable of polls, in simulated time: the number of polls, and the lags.

A poll is sent, Kie decides half a round trip later what to say, and the answer is settled when it
is there. Tasks come as fast as Kie's account limit lets them, at random moments. What is learned
is learned in that order: from tasks that have been found done, every few seconds, and used by the
next decision about tasks that are already running.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import log
from random import Random
from typing import Protocol
from uuid import UUID

from tests.support.percentiles import percentile
from worker.poll_timing import (
    WINDOW_LENGTH,
    PollObservation,
    PollPlanner,
    SuccessTiming,
    TaskKind,
    seconds_until_next_poll,
)
from worker.poll_timing.completion_times import INTERVAL_SECONDS

ROUND_TRIP_SECONDS = 0.1
TASKS_PER_SECOND = 2.0
"""Kie's account limit: 20 new generations per 10 seconds."""
DEADLINE_SECONDS = 1800.0
_KIND = TaskKind("gpt-4o-image", "text-to-image", 1)


@dataclass(frozen=True, slots=True)
class DurationModel:
    """The durations of tasks, and the progress and end time that Kie reports."""

    name: str
    draw: Callable[[Random, float], float]
    """Seconds of a task. The argument is the share of all tasks that came before it."""
    progress: Callable[[float, float], float] = lambda seconds, elapsed: 0.0
    """0 to 1, of a task of so many seconds after so many."""
    said: Callable[[float], float | None] = lambda seconds: seconds
    """The end time that Kie reports, or None."""


@dataclass(frozen=True, slots=True)
class SimulatedTask:
    """One task: the number of its polls, and the time from its end to its settlement."""

    polls: int
    lag_seconds: float


class PollPolicy(Protocol):
    """A measured timetable. Times are seconds since the task id."""

    def first(self) -> float:
        """Return the time of the first poll."""
        ...

    def again(self, number: int, elapsed: float, progress: float) -> float:
        """Return the time to wait after an answer."""
        ...

    def found(self, number: int, elapsed: float, said: float | None) -> None:
        """Record an end."""
        ...

    def tick(self, now: float) -> None:
        """Set the time of the simulated day."""
        ...


class KieAdvicePolicy:
    """Every 2.5 s for the first 30 s, every 7.5 s to 2 minutes, then every 20 s."""

    def first(self) -> float:
        return 2.5

    def again(self, number: int, elapsed: float, progress: float) -> float:
        return 2.5 if elapsed < 30 else 7.5 if elapsed < 120 else 20.0

    def found(self, number: int, elapsed: float, said: float | None) -> None:
        pass

    def tick(self, now: float) -> None:
        pass


class UnlearnedPolicy(KieAdvicePolicy):
    """Darkroom's timetable without any experience."""

    def first(self) -> float:
        return 2.0

    def again(self, number: int, elapsed: float, progress: float) -> float:
        sighting = PollObservation(elapsed, progress)
        return seconds_until_next_poll(sighting, DEADLINE_SECONDS - elapsed)


class Learned:
    """Darkroom's timetable, which begins without experience, and shares it like workers."""

    def __init__(self, seed: int, poll_cost_in_lag_seconds: float) -> None:
        self._timetable = PollPlanner(poll_cost_in_lag_seconds)
        self._random = Random(seed)  # noqa: S311
        self._window: list[tuple[float, float]] = []
        self._share_at = 0.0

    def first(self) -> float:
        return self._timetable.first_poll_delay_seconds(_KIND)

    def again(self, number: int, elapsed: float, progress: float) -> float:
        sighting = PollObservation(elapsed, progress)
        self._timetable.record_pending(UUID(int=number), sighting)
        return self._timetable.seconds_until_next_poll(_KIND, sighting, DEADLINE_SECONDS - elapsed)

    def found(self, number: int, elapsed: float, said: float | None) -> None:
        ending = SuccessTiming(elapsed, said, self._random.random())
        self._timetable.record_success(UUID(int=number), _KIND, ending)

    def tick(self, now: float) -> None:
        if now < self._share_at:
            return
        self._share_at = now + INTERVAL_SECONDS
        # As the column `keep_rank` of `completion_times` has it.
        fresh = self._timetable.take_new_completions()
        ranked = [(now / 120 - log(self._random.expovariate(1)), one.seconds) for one in fresh]
        self._window = sorted([*self._window, *ranked])[-WINDOW_LENGTH:]
        for kind in self._timetable.load_windows({_KIND: tuple(one for _, one in self._window)}):
            self._timetable.replan(kind)


def simulate(
    world: DurationModel, policy: PollPolicy, tasks: int, seed: int
) -> list[SimulatedTask]:
    """Run that many tasks; returns them in the order in which they came.

    Worlds and arrivals are the same for every policy with the same seed.
    """
    arrivals, durations = Random(seed), Random(seed + 1)  # noqa: S311
    now, started, seconds = 0.0, [], []
    schedule: list[tuple[float, int]] = []
    for number in range(tasks):
        now += arrivals.expovariate(TASKS_PER_SECOND)
        started.append(now)
        # No task outlasts the deadline, which every timetable ends with a poll.
        seconds.append(min(world.draw(durations, number / tasks), DEADLINE_SECONDS - 1))
        heappush(schedule, (now, -number - 1))
    polls = [0] * tasks
    found = [SimulatedTask(0, 0.0)] * tasks
    while schedule:
        now, number = heappop(schedule)
        policy.tick(now)
        if number < 0:  # the task has just begun
            number = -number - 1
            heappush(schedule, (now + policy.first(), number))
            continue
        polls[number] += 1
        sent = now - started[number]
        answered = sent + ROUND_TRIP_SECONDS
        if seconds[number] <= sent + ROUND_TRIP_SECONDS / 2:
            found[number] = SimulatedTask(polls[number], answered - seconds[number])
            policy.found(number, answered, world.said(seconds[number]))
            continue
        progress = world.progress(seconds[number], sent + ROUND_TRIP_SECONDS / 2)
        wait = policy.again(number, answered, progress)
        heappush(schedule, (now + ROUND_TRIP_SECONDS + wait, number))
    return found


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a timetable over many tasks."""

    polls: float
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float


def figures_of(found: Sequence[SimulatedTask]) -> Figures:
    """Return polls per task and quantiles of the lag."""
    lags = [one.lag_seconds for one in found]
    at = (percentile(lags, percent) for percent in (50, 95, 99))
    return Figures(sum(one.polls for one in found) / len(found), *at)
