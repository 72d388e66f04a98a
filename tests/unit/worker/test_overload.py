"""How a busy worker saves on polls: after busy times, step by step, and back again."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from prometheus_client import CollectorRegistry

from worker.metrics import Metrics
from worker.poll_timing import PollObservation, PollPlanner, TaskKind
from worker.poll_timing.overload import (
    LAG_FACTORS,
    OVERLOADED_FROM,
    RELAXED_BELOW,
    CpuClocks,
    OverloadControl,
)

KIND = TaskKind("gpt-4o-image", "text_to_image", 1)


class BusyProcess:
    """A process that was busy for a given share of the time."""

    def __init__(self) -> None:
        self.cpu_seconds = self.monotonic = 100.0
        self.registry = CollectorRegistry()
        self.planner = PollPlanner()
        clocks = CpuClocks(lambda: self.cpu_seconds, lambda: self.monotonic)
        self.lag_factor = OverloadControl(self.planner, Metrics(self.registry).lag_factor, clocks)

    async def works(self, share: float) -> float:
        """Let three seconds pass at that share of a core, and measure. Returns the lag factor in
        the metric.
        """
        self.monotonic += 3.0
        self.cpu_seconds += 3.0 * share
        await self.lag_factor.measure()
        shown = self.registry.get_sample_value("darkroom_poll_patience")
        assert shown is not None
        return shown


def completion_times() -> Sequence[float]:
    random = Random(5)
    return [random.lognormvariate(2.1, 0.35) for _ in range(300)]


def count_polls(planner: PollPlanner, until_seconds: float) -> int:
    at, polls = planner.first_poll_delay_seconds(KIND), 0
    while at < until_seconds:
        polls += 1
        at += planner.seconds_until_next_poll(KIND, PollObservation(at, 0.0), 1_000.0)
    return polls


async def test_it_grows_step_by_step_while_the_worker_is_busy_and_shrinks_when_it_is_not() -> None:
    process = BusyProcess()
    busy = [await process.works(0.95) for _ in range(4)]
    calm = [await process.works(0.2) for _ in range(3)]
    assert (busy, calm) == ([1.6, 2.5, 2.5, 2.5], [1.6, 1.0, 1.0])


@pytest.mark.parametrize("share", [RELAXED_BELOW + 0.01, (RELAXED_BELOW + OVERLOADED_FROM) / 2])
async def test_between_the_thresholds_the_level_stays(share: float) -> None:
    process = BusyProcess()
    assert await process.works(share) == 1.0
    await process.works(0.9)
    assert await process.works(share) == 1.6


async def test_an_overloaded_worker_polls_its_tasks_less_often() -> None:
    process = BusyProcess()
    process.planner.load_windows({KIND: completion_times()})
    process.planner.replan(KIND)
    polls = [count_polls(process.planner, 20.0)]
    for _ in LAG_FACTORS[1:]:
        await process.works(1.0)
        polls.append(count_polls(process.planner, 20.0))
    assert polls == sorted(polls, reverse=True)
    assert polls[-1] < 0.7 * polls[0], polls


async def test_later_plans_use_the_same_value_of_a_poll() -> None:
    process, calm = BusyProcess(), PollPlanner()
    await process.works(1.0)
    for planner in (process.planner, calm):
        for kind in planner.load_windows({KIND: completion_times()}):
            planner.replan(kind)
    assert count_polls(process.planner, 20.0) < count_polls(calm, 20.0)
