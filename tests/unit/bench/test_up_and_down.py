"""The search for the highest rate that a target carries."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from statistics import median

import pytest

from bench.figures.rate_search import (
    Outcome,
    Tried,
    estimates,
    guess_rate,
    is_bracketed,
    next_rate,
    rate_of,
    ratio_to_best,
)
from bench.measurement.run_statistics import spread

YES, NO, LATE = Outcome.CARRIED, Outcome.NOT_CARRIED, Outcome.NOT_OFFERED


def tried_until(rounds: int, first: int, limit: Callable[[], float]) -> list[Tried]:
    """Run the search for a target that carries every rate up to the limit of the round."""
    tried: list[Tried] = []
    for _ in range(rounds):
        rate = next_rate(tried) if tried else first
        tried.append(Tried(rate, YES if rate <= limit() else NO))
    return tried


def test_the_first_guess_keeps_four_fifths_of_a_core_busy() -> None:
    assert guess_rate(100, 0.2, YES) == 400
    assert guess_rate(1, 2.0, YES) == 1
    assert guess_rate(10, 0.0, YES) == 800, "nothing is less than a hundredth"


def test_of_an_idle_worker_that_fell_behind_no_more_is_expected() -> None:
    assert guess_rate(100, 0.2, NO) == 77
    assert guess_rate(100, 1.0, LATE) == 77
    assert guess_rate(100, 2.0, NO) == 40


def test_steps_are_coarse_until_the_outcome_changes_and_fine_from_then_on() -> None:
    tried = [Tried(100, YES)]
    assert next_rate(tried) == 130
    tried.append(Tried(130, YES))
    assert next_rate(tried) == 169
    tried.append(Tried(169, NO))
    assert next_rate(tried) == 148, "the middle of 130 and 169"
    tried.append(Tried(148, NO))
    assert next_rate(tried) == 135
    tried.append(Tried(135, YES))
    assert next_rate(tried) == 148


def test_climbing_is_hastened_by_what_the_jobs_cost_up_to_twice_the_rate() -> None:
    assert next_rate([Tried(200, YES, guess=150)]) == 260
    assert next_rate([Tried(200, YES, guess=333)]) == 333
    assert next_rate([Tried(200, YES, guess=900)]) == 400
    assert next_rate([Tried(400, NO, guess=900)]) == 308
    assert next_rate([Tried(200, YES), Tried(400, NO), Tried(283, YES, guess=900)]) == 311


def test_a_lowest_rate_that_is_not_carried_leads_nowhere_lower() -> None:
    assert next_rate([Tried(1, NO)]) == 1
    assert next_rate([Tried(1, YES)]) == 2


def test_rounds_in_which_the_rate_only_rises_do_not_count() -> None:
    tried = [Tried(100, YES), Tried(130, YES), Tried(169, NO), Tried(148, YES), Tried(163, NO)]
    found = estimates(tried)
    assert list(found) == [2, 3, 4]
    assert found[2] == pytest.approx((130 * 169) ** 0.5)
    assert found[3] == pytest.approx((148 * 163) ** 0.5)
    assert found[4] == pytest.approx((163 * 148) ** 0.5)
    assert rate_of(tried).median == pytest.approx((148 * 163) ** 0.5)


def test_without_a_change_the_last_round_gives_a_bound() -> None:
    tried = [Tried(100, YES), Tried(130, YES)]
    assert not is_bracketed(tried)
    assert estimates(tried) == {1: pytest.approx((130 * 169) ** 0.5)}
    assert is_bracketed([*tried, Tried(169, NO)])


def test_placing_that_falls_behind_leads_to_a_lower_rate() -> None:
    assert next_rate([Tried(130, LATE)]) == 100


@pytest.mark.parametrize("first", [150, 240, 300, 420, 700])
def test_a_sharp_limit_is_found_within_half_a_fine_step(first: int) -> None:
    tried = tried_until(8, first, lambda: 300)
    assert is_bracketed(tried)
    assert rate_of(tried).median == pytest.approx(300, rel=0.05)


def test_a_limit_that_wavers_is_found_without_leaning_to_one_side() -> None:
    chance = Random(11)
    found = [
        rate_of(tried_until(6, chance.randint(220, 380), lambda: chance.gauss(300, 15))).median
        for _ in range(300)
    ]
    assert median(found) == pytest.approx(300, rel=0.02)
    assert sum(abs(one / 300 - 1) < 0.1 for one in found) > 0.95 * len(found)


def test_the_ratio_is_taken_in_rounds_that_count_for_everybody_to_the_best_of_each() -> None:
    mine = [Tried(400, YES), Tried(520, YES), Tried(676, NO), Tried(593, NO)]
    one = [Tried(200, YES), Tried(260, NO), Tried(228, NO), Tried(207, YES)]
    other = [Tried(100, YES), Tried(130, NO), Tried(114, NO), Tried(104, NO)]
    ours, best = estimates(mine), estimates(one)
    ratios = [ours[number] / best[number] for number in (2, 3)]
    assert ratio_to_best(mine, {"one": one, "other": other}) == spread(ratios)


def test_two_targets_that_were_never_bracketed_are_compared_in_the_last_round() -> None:
    mine = [Tried(400, YES), Tried(520, YES)]
    peer = [Tried(200, YES), Tried(260, YES)]
    assert ratio_to_best(mine, {"peer": peer}).median == pytest.approx(2)
