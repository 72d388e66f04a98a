"""The plan of polls: its times, its gaps, and how long it takes to make."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.polling.duration_models import MAIN, OTHERS
from bench.polling.poll_simulation import (
    DurationModel,
    KieAdvicePolicy,
    Learned,
    figures_of,
    simulate,
)
from worker.poll_timing import WINDOW_LENGTH, plan_polls
from worker.poll_timing.completion_distribution import Distribution
from worker.poll_timing.first_and_next_poll import LEAST_GAP_SECONDS
from worker.poll_timing.optimal_plan import PLAN_FROM, POLL_COST_IN_LAG_SECONDS

SECONDS = st.lists(
    st.one_of(st.floats(0.01, 1_800), st.sampled_from([0.01, 4.5, 35.0])),
    min_size=PLAN_FROM,
    max_size=WINDOW_LENGTH,
)
HARDER = [world for world in (*MAIN, *OTHERS) if re.search("drift|not date|ahead", world.name)]


@given(SECONDS)
@settings(max_examples=60)
def test_polls_are_never_too_close_and_after_the_first_never_too_far_apart(
    seconds: list[float],
) -> None:
    polls = plan_polls(seconds)
    assert polls[0] >= LEAST_GAP_SECONDS - 1e-9
    for one, other in pairwise(polls):
        longest = min(max(one / 4, 3.0), 30.0)
        finest_step = one * 0.15 + LEAST_GAP_SECONDS  # where no moment to choose lies nearer
        assert LEAST_GAP_SECONDS - 1e-9 <= other - one <= max(longest, finest_step) + 1e-9


@given(SECONDS)
@example([1.0] * 15 + [1.125])
@example([1.022] * 8 + [1.125] * 8)
@settings(max_examples=60)
def test_the_last_poll_comes_after_the_longest_duration_seen(seconds: list[float]) -> None:
    assert plan_polls(seconds)[-1] >= max(seconds)


def test_too_little_experience_makes_no_plan() -> None:
    assert plan_polls([30.0] * (PLAN_FROM - 1)) == ()
    assert plan_polls([30.0] * PLAN_FROM) != ()


def test_tasks_that_all_take_equally_long_are_found_by_the_first_poll() -> None:
    first = plan_polls([35.0] * WINDOW_LENGTH)[0]
    assert 35.0 <= first <= 35.3


def test_polls_are_dense_where_tasks_end() -> None:
    random = Random(1)
    humps = [random.gauss(25, 2) for _ in range(200)] + [random.gauss(110, 4) for _ in range(100)]
    polls = plan_polls(humps)

    def per_second(start: float, end: float) -> float:
        return sum(1 for poll in polls if start <= poll < end) / (end - start)

    assert per_second(0, 18) < 0.1
    assert per_second(21, 29) > 3 * per_second(40, 95)
    assert per_second(102, 118) > 3 * per_second(40, 95)


def test_a_higher_price_of_lag_means_more_polls() -> None:
    random = Random(1)
    seconds = [random.lognormvariate(3.55, 0.4) for _ in range(WINDOW_LENGTH)]
    counts = [len(plan_polls(seconds, worth)) for worth in (0.5, POLL_COST_IN_LAG_SECONDS, 4.0)]
    assert counts[0] > counts[1] > counts[2]


@given(SECONDS, st.lists(st.floats(0, 10_000), min_size=2, max_size=20))
def test_the_share_that_has_ended_rises_from_0_and_never_reaches_1(
    seconds: list[float], moments: list[float]
) -> None:
    distribution = Distribution(seconds)
    shares = [distribution.ended_by(moment) for moment in [0.0, *sorted(moments)]]
    assert shares[0] == 0
    assert all(0 <= one <= other <= 1 for one, other in pairwise(shares))
    assert distribution.ended_by(max(seconds)) < 1


def test_the_distribution_lies_close_to_what_was_seen() -> None:
    random = Random(2)
    seconds = sorted(random.lognormvariate(3.55, 0.4) for _ in range(WINDOW_LENGTH))
    distribution = Distribution(seconds)
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        moment = seconds[int(share * WINDOW_LENGTH)]
        assert distribution.ended_by(moment) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("world", MAIN[:3], ids=lambda world: world.name)
def test_polls_and_lag_are_well_below_those_of_kies_advice(world: DurationModel) -> None:
    advice = figures_of(simulate(world, KieAdvicePolicy(), 2_500, 7)[700:])
    ours = figures_of(simulate(world, Learned(7, POLL_COST_IN_LAG_SECONDS), 2_500, 7)[700:])
    assert ours.polls <= 0.65 * advice.polls
    assert ours.p95_seconds <= 0.65 * advice.p95_seconds


@pytest.mark.parametrize("world", HARDER, ids=lambda world: world.name)
def test_polls_and_lag_are_below_those_of_kies_advice_whatever_kie_does(
    world: DurationModel,
) -> None:
    advice = figures_of(simulate(world, KieAdvicePolicy(), 2_500, 7)[700:])
    ours = figures_of(simulate(world, Learned(7, POLL_COST_IN_LAG_SECONDS), 2_500, 7)[700:])
    assert ours.polls <= 0.85 * advice.polls
    assert ours.p95_seconds <= 0.85 * advice.p95_seconds
