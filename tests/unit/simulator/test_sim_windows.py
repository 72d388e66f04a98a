"""Arrival windows and limits are exact."""

from __future__ import annotations

from random import Random

from worker.simulator.sliding_windows import ArrivalWindow, SlidingLimit


def worst_by_brute_force(times: list[float], span: float) -> int:
    return max(sum(1 for other in times if 0 <= other - start < span) for start in times)


def test_arrivals_one_span_apart_are_in_different_windows() -> None:
    window = ArrivalWindow(1.0)
    assert [window.arrive(at) for at in (0.0, 0.25, 0.5, 1.0)] == [1, 2, 3, 3]
    assert window.worst == 3
    assert window.total == 4


def test_the_worst_window_is_remembered_after_it_has_passed() -> None:
    window = ArrivalWindow(1.0)
    for at in (0.0, 0.1, 0.2, 0.3, 50.0):
        window.arrive(at)
    assert window.worst == 4


def test_the_worst_window_agrees_with_counting_every_window() -> None:
    randomness = Random(7)
    for _ in range(50):
        times = sorted(randomness.uniform(0, 6) for _ in range(40))
        window = ArrivalWindow(1.0)
        for at in times:
            window.arrive(at)
        assert window.worst == worst_by_brute_force(times, 1.0)


def test_an_unused_window_is_empty() -> None:
    window = ArrivalWindow(1.0)
    assert (window.total, window.worst) == (0, 0)


def test_a_limit_admits_again_once_the_oldest_has_left_the_window() -> None:
    limit = SlidingLimit(2, 10.0)
    assert [limit.admit(at) for at in (0.0, 5.0, 9.9, 10.0, 14.9, 15.0)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


def test_refused_events_do_not_prolong_the_refusal() -> None:
    limit = SlidingLimit(1, 10.0)
    assert limit.admit(0.0)
    assert not any(limit.admit(at / 10) for at in range(1, 100))
    assert limit.admit(10.0)


def test_a_limit_of_zero_admits_everything() -> None:
    limit = SlidingLimit(0, 10.0)
    assert all(limit.admit(0.0) for _ in range(1000))
