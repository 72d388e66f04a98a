"""`python -m bench.scale`: measures how Darkroom scales. `--write` writes the page."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from bench.measurement.bench_deployment import open_bench_deployment
from bench.measurement.measured_process import end_on_sigterm
from bench.scaling.history_cost import measure_history
from bench.scaling.history_databases import Size
from bench.scaling.scale_options import ScaleOptions, read_scale_options
from bench.scaling.scale_report import marks_of, write_costs, write_flights, write_growth
from bench.scaling.tasks_in_flight import Load, measure_tasks_in_flight
from bench.scaling.worker_growth import measure_accounts, measure_workers
from tests.support.report_page import rewrite_section
from tests.support.run_description import describe_run

_SHORT_TASKS = (
    "--create-latency",
    "0",
    "--poll-latency",
    "0",
    "--duration",
    "2",
    "--sigma",
    "0.35",
)
"""The task time for the workers: short, so that the last task's end has little effect."""


def main() -> int:
    """Measure, print, and write if requested. Return 1 if it was interrupted."""
    options = read_scale_options(sys.argv[1:])
    try:
        asyncio.run(_measure(options))
    except asyncio.CancelledError:
        sys.stderr.write("ended by SIGTERM\n")
        return 1
    return 0


async def _measure(options: ScaleOptions) -> None:
    end_on_sigterm()
    measures = {"flight": _flights, "history": _history, "growth": _growth}
    for figure in options.figures:
        load = os.getloadavg()[0]
        said = await measures[figure](options)
        loads = (load, os.getloadavg()[0])
        # The last line names peers, of whom there are none here.
        facts = [*describe_run(options.command, loads, "")][:-1]
        section = "\n\n".join(("\n".join(facts), said))
        sys.stdout.write(f"{figure}\n\n{section}\n\n")
        if options.page is not None:
            rewrite_section(options.page, *marks_of(figure), section)


async def _flights(options: ScaleOptions) -> str:
    loads = [
        Load(tasks, options.task_seconds, options.watch_seconds, options.seed)
        for tasks in options.tasks
    ]
    return write_flights([await measure_tasks_in_flight(load) for load in loads])


async def _history(options: ScaleOptions) -> str:
    # A thousand accounts, or as many as leave each a full page of jobs.
    accounts = max(min(1_000, options.history // 100), 10)
    large = Size(ended=options.history, queued=options.history // 10, accounts=accounts)
    return write_costs(await measure_history(large, options.rounds), options)


async def _growth(options: ScaleOptions) -> str:
    simulator = ["--seed", str(options.seed), *_SHORT_TASKS]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with open_bench_deployment(Path(folder), simulator=simulator) as deployment:
            # One that is not counted: the timetable learns, and every table has its first rows.
            await measure_workers(deployment, 1, max(options.jobs // 4, 50))
            crews = [
                await measure_workers(deployment, one, options.jobs) for one in options.workers
            ]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with open_bench_deployment(Path(folder), simulator=simulator) as deployment:
            accounts = await measure_accounts(
                deployment, options.account_rounds, options.account_jobs
            )
    return write_growth(crews, accounts)


if __name__ == "__main__":
    sys.exit(main())
