"""The pure parts of the measurement of growth."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from bench.scaling import scale_options
from bench.scaling.history_cost import CHORES, FIRST_SCREEN, LISTS, MOVES, StatementCosts
from bench.scaling.poll_lateness import Lateness, read_lateness
from bench.scaling.scale_options import FIGURES, ScaleOptions, read_scale_options
from bench.scaling.scale_report import marks_of, write_costs, write_flights, write_growth
from bench.scaling.tasks_in_flight import Load, LoadResult
from bench.scaling.worker_growth import AccountRates, WorkerGroupRun
from worker.metrics import Metrics

EDGES = (0.1, 0.25, 1.0, inf)


def lateness(*polls: int) -> Lateness:
    return Lateness(EDGES, polls, 1.0)


def flight(tasks: int, late: Lateness, *, fewest: int | None = None, unsent: int = 0) -> LoadResult:
    return LoadResult(
        load=Load(tasks, 120.0, 45.0, 7),
        fewest=tasks if fewest is None else fewest,
        usual=tasks,
        seconds=10.0,
        ended=50,
        lateness=late,
        unsent=unsent,
        arrived=late.count,
        worker_share=0.5,
        kie_share=0.2,
        valkey_share=0.1,
        busy_cores=1.5,
        peak_mb=105.6,
    )


# --- lateness -------------------------------------------------------------------------------


def test_the_workers_own_metric_is_read() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for seconds in (0.01, 0.2, 0.26, 70):
        metrics.count_poll(seconds)
    metrics.count_poll(None)
    found = read_lateness(generate_latest(registry).decode())
    assert found.count == 4
    assert found.share_within(0.25) == 0.5
    assert found.seconds == pytest.approx(70.47)


def test_a_worker_without_the_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="darkroom_poll_lateness_seconds"):
        read_lateness("")


def test_only_what_was_added_since_the_last_reading_counts() -> None:
    added = lateness(90, 95, 99, 100).since(lateness(90, 90, 90, 90))
    assert list(added.polls) == [0, 5, 9, 10]
    assert added.share_within(0.25) == 0.5


def test_polls_that_were_never_sent_are_late() -> None:
    assert lateness(0, 99, 100, 100).share_within(0.25, unsent=100) == 99 / 200


def test_a_percentile_lies_evenly_inside_its_bucket() -> None:
    polls = lateness(50, 50, 100, 100)
    assert polls.percentile(25) == pytest.approx(0.05)
    assert polls.percentile(75) == pytest.approx(0.625)
    assert lateness(0, 0, 0, 10).percentile(50) == 1.0  # at least so much: the last edge
    assert lateness(0, 0, 0, 0).percentile(50) == 0.0


# --- what is said of it ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "is_carried"),
    [
        (flight(100, lateness(0, 990, 1000, 1000)), True),
        (flight(100, lateness(0, 989, 1000, 1000)), False),
        (flight(100, lateness(0, 990, 1000, 1000), unsent=2), False),
        (flight(100, lateness(0, 1000, 1000, 1000), fewest=94), False),
    ],
)
def test_a_load_is_carried_if_it_was_there_and_99_of_100_polls_were_on_time(
    one: LoadResult, is_carried: bool
) -> None:
    assert one.is_carried is is_carried


def test_the_largest_load_that_was_carried_is_the_figure() -> None:
    on_time, late = lateness(1000, 1000, 1000, 1000), lateness(0, 0, 1000, 1000)
    flights = [flight(1_000, on_time), flight(3_000, on_time), flight(10_000, late)]
    assert "P4: 3,000 tasks carried, in 106 MB" in write_flights(flights)
    assert "none of these loads" in write_flights([flight(10_000, late)])


def test_statements_above_the_goal_are_named() -> None:
    names = [*MOVES, *LISTS, *CHORES, FIRST_SCREEN]
    small, large = (
        {name: [0.001, 0.002] for name in names},
        {name: [0.001, 0.002] for name in names},
    )
    large["settle"] = [0.002, 0.004]
    text = write_costs(StatementCosts(small, large), ScaleOptions())
    assert "| settle | 2.00 | 2.00 | 2.00 | 1.50 | 3.00 |" in text
    assert "Above 1.3: settle." in text
    assert "1.5 ms" in text


def test_worker_groups_and_accounts_are_tables() -> None:
    crews = [WorkerGroupRun(1, 100.0, 2.5, 10.0, 1.5), WorkerGroupRun(8, 150.0, 3.0, 12.0, 2.0)]
    text = write_growth(crews, [AccountRates(5_000, 10_000, 3_000, 3_000)])
    assert "| 8 | 150 | 3.00 | 12.0 | 2.0 |" in text
    assert "| `enqueue_many`, jobs/s | 0.50 | 0.50 | 0.50 | 5,000 | 10,000 |" in text


def test_the_page_has_a_place_for_every_figure() -> None:
    page = scale_options.PAGE.read_text(encoding="utf-8")
    for figure in FIGURES:
        begin, end = marks_of(figure)
        assert page.index(begin) < page.index(end)


# --- what may be asked ----------------------------------------------------------------------


def test_the_command_that_is_shown_repeats_the_measurement() -> None:
    options = ScaleOptions(tasks=(5,), workers=(1, 3), seed=9, figures=("flight",))
    arguments = options.command.removeprefix("python -m bench.scale ").split()
    assert read_scale_options(arguments) == options


def test_the_page_is_written_only_when_asked() -> None:
    assert read_scale_options([]) == ScaleOptions()
    assert read_scale_options(["--write"]).page == Path(scale_options.PAGE)


@pytest.mark.parametrize(
    "arguments", [["--tasks", "0"], ["--task-seconds", "0.5"], ["--figures", "all"]]
)
def test_what_cannot_be_measured_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        read_scale_options(arguments)
