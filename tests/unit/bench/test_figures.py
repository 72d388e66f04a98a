"""The figures from the runs of several rounds."""

from __future__ import annotations

import pytest

from bench.measurement.run_statistics import (
    Run,
    Spread,
    cpu_ratio,
    find,
    spread,
    spread_of,
    turned,
)


def run(name: str, *, cpu_seconds: float = 1.0, seconds: float = 10.0) -> Run:
    return Run(
        name=name,
        jobs=100,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        polls=400,
        statements=0,
        kie_cpu_seconds=2.0,
    )


def test_a_run_tells_its_figures_per_job_and_per_second() -> None:
    found = run("ours", cpu_seconds=0.25, seconds=8)
    assert found.cpu_ms_per_job == 2.5
    assert found.jobs_per_second == 12.5
    assert found.polls_per_job == 4
    assert found.kie_share == 0.25


def test_a_spread_is_median_lowest_and_highest() -> None:
    assert spread([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)
    assert spread([1.0, 2.0]).median == 1.5
    assert Spread(1.234, 0.5, 20).shown() == "1.23 | 0.50 | 20.00"


def test_ratios_are_taken_inside_a_round_and_not_over_all() -> None:
    # The second round ran on a machine twice as slow: the ratio does not notice.
    rounds = [
        [run("ours", cpu_seconds=3), run("floor", cpu_seconds=2)],
        [run("ours", cpu_seconds=6), run("floor", cpu_seconds=4)],
    ]
    assert cpu_ratio(rounds, "ours", "floor") == Spread(1.5, 1.5, 1.5)
    assert spread_of(rounds, "ours", lambda one: one.cpu_seconds) == Spread(4.5, 3, 6)


def test_a_missing_run_is_named() -> None:
    with pytest.raises(KeyError, match="nobody"):
        find([run("ours")], "nobody")


def test_each_round_begins_with_another_target() -> None:
    names = ["a", "b", "c"]
    orders = [turned(names, number) for number in range(4)]
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]
    assert turned([], 3) == []
