"""Durations follow their distribution and their seed."""

from __future__ import annotations

import statistics
from random import Random

import pytest

from worker.simulator.durations import Durations


def drawn(durations: Durations, count: int = 4000) -> list[float]:
    randomness = Random(5)
    return [durations.draw(randomness) for _ in range(count)]


def test_the_lognormal_has_the_median_that_was_asked_for() -> None:
    assert statistics.median(drawn(Durations(median_seconds=35.0))) == pytest.approx(35, rel=0.05)


def test_sigma_zero_makes_every_duration_the_same() -> None:
    assert set(drawn(Durations(median_seconds=3.0, sigma=0.0), 100)) == {3.0}


def test_the_bimodal_has_humps_at_25_and_110_seconds_and_nothing_between() -> None:
    samples = drawn(Durations("bimodal"))
    fast = [sample for sample in samples if sample < 60]
    slow = [sample for sample in samples if sample >= 60]
    assert statistics.mean(fast) == pytest.approx(25, rel=0.05)
    assert statistics.mean(slow) == pytest.approx(110, rel=0.05)
    assert not [sample for sample in samples if 45 < sample < 60]


def test_the_heavy_tail_starts_at_20_seconds_and_goes_far() -> None:
    samples = drawn(Durations("heavy-tail"))
    assert min(samples) >= 20
    assert max(samples) > 300
    assert statistics.median(samples) == pytest.approx(
        Durations("heavy-tail").typical_seconds, rel=0.05
    )


@pytest.mark.parametrize("distribution", ["lognormal", "bimodal", "heavy-tail"])
def test_the_scale_multiplies_every_duration(distribution: str) -> None:
    plain = drawn(Durations(distribution), 50)
    scaled = drawn(Durations(distribution, scale=0.1), 50)
    assert scaled == pytest.approx([duration * 0.1 for duration in plain])


def test_an_unknown_distribution_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="lognormal, bimodal, heavy-tail"):
        Durations("normal")


def test_negative_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Durations(median_seconds=-1.0)
