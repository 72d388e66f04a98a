"""The tables that the measuring commands write."""

from __future__ import annotations

from dataclasses import replace

from bench.figures.cpu_per_job import PairedRuns
from bench.figures.enqueue_cost import EnqueueRates
from bench.figures.figure_options import FigureOptions
from bench.figures.figure_report import Findings, write_figures
from bench.figures.redis_commands import CommandCounts
from bench.measurement.run_statistics import Run
from bench.peers.kill_report import write_section
from bench.peers.kill_run import KillPlan, KillResult

OURS = Run(
    name="Darkroom",
    jobs=100,
    seconds=10,
    cpu_seconds=0.3,
    polls=400,
    statements=0,
    kie_cpu_seconds=1,
)
FLOOR = replace(OURS, name="bare loop", cpu_seconds=0.2)
STATEMENTS = 8.0
PAIR = PairedRuns([[OURS, FLOOR]], STATEMENTS)
OPTIONS = FigureOptions(rounds=1, jobs=100, seed=5, peers=("saq",), figures=("speed", "crowd"))

STEADY = KillResult(
    name="Darkroom",
    flushed=False,
    jobs=200,
    kills=12,
    tasks=200,
    paid_again=0,
    never_asked=0,
    stuck=0,
    without_images=0,
    charged_again=0,
    longest_seconds=19.04,
    last_seconds=12.0,
    most_polls=2,
)


def test_the_figures_hold_the_ratios_and_everybodys_row() -> None:
    text = write_figures(Findings(PAIR), OPTIONS, (0.1, 0.9))
    assert "| P1 | worker CPU per job ÷ the bare loop's | 1.50 | 1.50 | 1.50 | ≤ 1.5 |" in text
    assert "| Darkroom | 3.00 | 3.00 | 3.00 | 10 | 10 | 10 | 4.00 | - | - | 8.00 | 10 |" in text
    assert "| bare loop | 2.00 | 2.00 | 2.00 | 10 | 10 | 10 | 4.00 | - | - | 8.00 | 10 |" in text


def test_the_lag_is_shown_of_every_target_that_has_one() -> None:
    late = replace(OURS, lags=tuple(number / 100 for number in range(1, 101)))
    pair = PairedRuns([[late, FLOOR]], STATEMENTS)
    text = write_figures(Findings(speed=pair), OPTIONS, (0.1, 0.9))
    assert "| 10 | 10 | 10 | 4.00 | 0.51 | 0.96 | 8.00 | 10 |" in text
    assert "| bare loop | 2.00 | 2.00 | 2.00 | 10 | 10 | 10 | 4.00 | - | - | 8.00 | 10 |" in text


def test_the_figures_say_how_they_were_measured() -> None:
    text = " ".join(write_figures(Findings(PAIR), OPTIONS, (0.1, 0.9)).split())
    assert "`python -m bench --rounds 1 --jobs 100 --seed 5 --peers saq" in text
    assert "load 0.1 before and 0.9 after" in text
    assert "peers: saq 0.26.4" in text
    assert "asyncpg" in text


def test_without_peers_there_is_no_rate_to_compare() -> None:
    text = write_figures(Findings(PAIR), OPTIONS, (0, 0))
    assert "| P1 |" in text
    assert "P2" not in text


def test_a_busy_simulator_is_not_passed_over() -> None:
    calm = write_figures(Findings(PAIR), OPTIONS, (0, 0))
    assert "10 % of a core at most: no bottleneck" in calm
    busy = replace(FLOOR, kie_cpu_seconds=9)
    text = write_figures(Findings(PairedRuns([[OURS, busy]], STATEMENTS)), OPTIONS, (0, 0))
    assert "took 90 % of a core: it may have been the bottleneck" in text


def test_enqueueing_is_compared_with_the_bare_calls() -> None:
    rounds = [EnqueueRates(9_000, 3_000, 0.003, 0.002), EnqueueRates(8_000, 4_000, 0.004, 0.002)]
    text = write_figures(Findings(enqueued=rounds), OPTIONS, (0, 0))
    assert "`enqueue_job` under `gather` | 2.50 | 2.00 | 3.00 | ≥ 3 |" in text
    assert "one bare `enqueue_job` | 1.75 | 1.50 | 2.00 | ≤ 1.3 |" in text
    assert "8500 jobs/s against 3500. P6: 3.50 ms against 2.00 ms. Medians of 2" in text
    assert "P1" not in text


def test_commands_per_job_are_told_for_everybody_and_have_a_goal_for_us() -> None:
    commands = [CommandCounts("Darkroom", 10, 11), CommandCounts("arq 0.28.0", 16, 48)]
    text = write_figures(Findings(commands=commands), OPTIONS, (0, 0))
    assert "8 workers ÷ 1: Darkroom | 1.10 | 1.10 | 1.10 | ≤ 1.15 |" in text
    assert "8 workers ÷ 1: arq 0.28.0 | 3.00 | 3.00 | 3.00 |  |" in text
    assert "arq 0.28.0: 16.0 commands per job alone, 48.0 with 8 workers" in text


def test_the_campaign_has_a_table_for_kills_and_one_for_a_wiped_redis() -> None:
    beaten = replace(STEADY, name="saq 0.26.4", paid_again=3, stuck=40, last_seconds=90.0)
    flushed = [replace(one, flushed=True) for one in (STEADY, beaten)]
    text = write_section([STEADY, beaten, *flushed], KillPlan(), ("saq",), (0.5, 0.6))
    assert text.count("| Darkroom | 200 | 12 | 0 | 0 | 0 | 0 | 0 | 19.0 | 12.0 |") == 2
    assert text.count("| saq 0.26.4 | 200 | 12 | **3** | 0 | **40** | 0 | 0 |") == 2
    assert "one `FLUSHALL`" in text
    assert "--seed 7" in text
    assert "What is not comparable" in text
