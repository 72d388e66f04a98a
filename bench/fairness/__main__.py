"""`python -m bench.fairness`: how a small budget of submits is shared between accounts.

Runs seven scenarios against the simulated Kie, single jobs in an idle queue, and ten jobs beside
10,000 of another account (E5). Prints tables. `--plot` writes the submits of each scenario over
time as an SVG.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from bench.fairness.budget_share import BATCH_JOBS, LIMIT, measure_share
from bench.fairness.lone_jobs import measure_lone_jobs
from bench.fairness.scenario_run import grouped, run_scenario
from bench.fairness.scenarios import SCENARIOS
from bench.fairness.shares_report import report_lone_jobs, report_scenarios, report_shares
from bench.fairness.submits_plot import draw
from bench.measurement.measured_process import end_on_sigterm
from tests.support.arguments import at_least, positive

PLOT = Path(__file__).parents[2] / "docs" / "images" / "fair-shares.svg"


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=positive, default=40, help="of each scenario")
    parser.add_argument("--rounds", type=at_least(0), default=5, help="of the ten jobs; 0: none")
    parser.add_argument("--plot", action="store_true", help=f"write {PLOT.name}")
    given = parser.parse_args()
    asyncio.run(_measure(given.seconds, given.rounds, has_plot=given.plot))


async def _measure(seconds: float, rounds: int, *, has_plot: bool) -> None:
    end_on_sigterm()
    _print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    measured = []
    for scenario in SCENARIOS:
        submits = await run_scenario(scenario, seconds)
        measured.append((scenario, grouped(submits, scenario)))
    for line in report_scenarios(measured, seconds):
        _print(line)
    if has_plot:
        PLOT.write_text(draw(measured, seconds), encoding="utf-8")
    _print("")
    for line in report_lone_jobs(await measure_lone_jobs()):
        _print(line)
    if rounds:
        _print("")
        alone, beside = [], []
        for _ in range(rounds):
            alone.append(await measure_share(LIMIT))
            beside.append(await measure_share(BATCH_JOBS))
        for line in report_shares(alone, beside):
            _print(line)
    _print(f"load average {os.getloadavg()[0]:.1f} at the end")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
