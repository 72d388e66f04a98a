"""The figure P3a, from the runs with callbacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.figures.callback_lag import CallbackRun, lag_of, with_callbacks
from bench.figures.figure_options import FigureOptions, read_command_line
from bench.figures.figure_report import Findings, write_figures
from bench.measurement.pipelines import Program
from tests.support.percentiles import percentile

SLOWEST = 1.0
RUN = CallbackRun(
    rate=20,
    lags=(*[0.01] * 98, 0.2, SLOWEST),
    polls=200,
    callbacks=100,
    hastened=90,
    worker_share=0.25,
)


@pytest.mark.parametrize(("percent", "value"), [(0, 1.0), (50, 3.0), (95, 4.0), (100, 4.0)])
def test_a_percentile_is_one_of_the_values_whatever_their_order(percent: int, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == value


def test_of_nothing_every_percentile_is_zero() -> None:
    assert percentile([], 99) == 0.0


def test_runs_at_one_rate_are_taken_together_and_the_worst_is_named() -> None:
    lag = lag_of([RUN, replace(RUN, lags=(0.02,) * 100, polls=300, hastened=100)])
    assert (lag.rate, lag.jobs) == (20, 200)
    assert (lag.p50_ms, lag.p95_ms, lag.p99_ms) == (20, 20, 200)
    assert lag.worst_p99_ms == 1000 * SLOWEST
    assert (lag.polls_per_job, lag.callbacks_per_job, lag.hastened_per_job) == (2.5, 1.0, 0.95)
    assert lag.worker_share == 0.25


def test_the_worker_gets_its_own_port_in_its_callback_url() -> None:
    program = Program(("python",), {"WORKER_HTTP_PORT": "4321"}, "http://127.0.0.1:4321/healthz")
    told = with_callbacks(program)
    assert told.environ["KIE_CALLBACK_URL"] == "http://127.0.0.1:4321"
    assert "KIE_CALLBACK_URL" not in program.environ


def test_the_page_has_both_quantiles_per_rate_with_their_goals_and_a_table() -> None:
    found = Findings(called=[RUN, replace(RUN, rate=100), replace(RUN, lags=(0.02,) * 100)])
    text = write_figures(found, FigureOptions(rounds=2, peers=()), (0, 0))
    lag = "finish-to-settled lag with callbacks"
    assert f"| P3a | {lag}, p50, ms, at 20 jobs/s | 15 | 10 | 20 | ≤ 50 |" in text
    assert f"| P3a | {lag}, p99, ms, at 20 jobs/s | 510 | 20 | 1000 | ≤ 250 |" in text
    assert f"| P3a | {lag}, p99, ms, at 100 jobs/s | 1000 | 1000 | 1000 | ≤ 250 |" in text
    assert "| 20 | 200 | 20 | 20 | 200 | 1000 | 2.00 | 1.00 | 0.90 | 25 |" in text
    assert "| P1 |" not in text


def test_one_figure_may_be_measured_alone() -> None:
    assert read_command_line(["--figures", "callbacks"]).figures == ("callbacks",)
