"""`python -m bench`: measures and prints the figures. `--write` also writes them to the page."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.figures.callback_lag import measure_callbacks
from bench.figures.cpu_per_job import SIMULATOR, measure_pairs, simulator_options
from bench.figures.enqueue_cost import measure_enqueueing
from bench.figures.figure_options import FigureOptions, read_command_line
from bench.figures.figure_report import BEGIN, END, Findings, write_figures
from bench.figures.redis_commands import measure_redis_commands
from bench.figures.sustained_rate import measure_sustained
from bench.measurement.bench_deployment import BenchDeployment, open_bench_deployment
from bench.measurement.measured_process import end_on_sigterm
from bench.peers.peer_environments import PeerUnavailableError
from tests.support.report_page import rewrite_section


def main() -> int:
    """Measure. Returns 0, or 1 if a peer could not be installed."""
    options = read_command_line(sys.argv[1:])
    try:
        section = asyncio.run(_measure(options))
    except PeerUnavailableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except asyncio.CancelledError:
        sys.stderr.write("ended by SIGTERM\n")
        return 1
    sys.stdout.write(section)
    if options.page is not None:
        rewrite_section(options.page, BEGIN, END, section)
    return 0


async def _measure(options: FigureOptions) -> str:
    end_on_sigterm()
    load = os.getloadavg()[0]
    found = Findings()
    if "enqueue" in options.figures:
        async with _house(options) as deployment:
            found.enqueued = await measure_enqueueing(deployment, options.rounds)
    if "callbacks" in options.figures:
        async with _house(options) as deployment:
            found.called = await measure_callbacks(deployment, options.rounds)
    if "speed" in options.figures:
        async with _house(options) as deployment:
            found.speed = await measure_pairs(deployment, options)
    if "sustained" in options.figures:
        async with _house(options) as deployment:
            found.sustained = await measure_sustained(deployment, options)
    if "crowd" in options.figures:
        async with _house(options) as deployment:
            has_arq = "arq" in options.peers
            found.commands = await measure_redis_commands(
                deployment, options.rounds, options.jobs, arq=has_arq
            )
    return write_figures(found, options, (load, os.getloadavg()[0]))


@asynccontextmanager
async def _house(options: FigureOptions) -> AsyncIterator[BenchDeployment]:
    """Open a new deployment for each figure, so that no figure leaves jobs for the next one."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with open_bench_deployment(
            Path(folder), simulator=simulator_options(options.seed), module=SIMULATOR
        ) as deployment:
            yield deployment


if __name__ == "__main__":
    sys.exit(main())
