"""Processes that are measured, and the measuring process itself."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from bench.measurement.measured_process import (
    cpu_seconds,
    end_on_sigterm,
    run_to_its_end,
    running,
    suspended,
)

BUSY = "import sys\nprint('ready', file=sys.stderr, flush=True)\nwhile True: pass"


async def test_a_process_reports_that_it_is_ready_and_waits_for_the_signal_to_start(
    tmp_path: Path,
) -> None:
    program = (sys.executable, "-c", BUSY)
    async with running(program, os.environ, folder=tmp_path, ready="ready") as pid:
        async with suspended(pid):
            before = cpu_seconds(pid)
            await asyncio.sleep(0.2)
            assert cpu_seconds(pid) - before <= 0.02
        async with asyncio.timeout(20):
            while cpu_seconds(pid) - before < 0.1:
                await asyncio.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_children_of_a_measured_process_do_not_outlive_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(f'ready {child.pid}', file=sys.stderr, flush=True)\n"
        "time.sleep(60)"
    )
    program = (sys.executable, "-c", code)
    async with running(program, os.environ, folder=tmp_path, ready="ready"):
        child = int((tmp_path / "process.log").read_text().split()[1])
        os.kill(child, 0)
    async with asyncio.timeout(10):
        while not _is_gone(child):
            await asyncio.sleep(0.02)


async def test_a_program_that_does_not_start_is_reported_with_its_output(tmp_path: Path) -> None:
    program = (sys.executable, "-c", "raise SystemExit('no such luck')")
    with pytest.raises(RuntimeError, match="did not start: no such luck"):
        async with running(program, os.environ, folder=tmp_path, ready="ready"):
            pass
    with pytest.raises(RuntimeError, match="failed: no such luck"):
        await run_to_its_end(program, os.environ, folder=tmp_path)


async def test_sigterm_cancels_the_measurement_so_that_it_cleans_up() -> None:
    async def measurement() -> None:
        end_on_sigterm()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)

    task = asyncio.create_task(measurement())
    try:
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


def _is_gone(pid: int) -> bool:
    """Whether the process has ended; one that only waits to be reaped has."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
