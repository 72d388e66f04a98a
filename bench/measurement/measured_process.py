"""Starts, suspends, measures and stops processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0
_SETTLE_SECONDS = 0.3


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, from the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    folder: Path,
    ready: str,
) -> AsyncIterator[int]:
    """Run a program during the block. Yields its process id when it is ready.

    It is ready when the URL `ready` replies, or when a line of its stderr contains `ready`. Stderr
    is logged to a file in the folder.
    """
    log = folder / "process.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            env=dict(environ),
            cwd=folder,
            stderr=stderr,
            stdout=stderr,
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not await _is_ready(ready, log):
                if process.returncode is not None:
                    raise RuntimeError(f"{arguments} did not start: {log.read_text()[-2000:]}")
                await asyncio.sleep(0.05)
        await asyncio.sleep(_SETTLE_SECONDS)
        yield process.pid
    finally:
        await _stop(process)


def end_on_sigterm() -> None:
    """Make SIGTERM cancel the calling task, so that its processes are stopped."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def run_to_its_end(
    arguments: Sequence[str], environ: Mapping[str, str], *, folder: Path
) -> None:
    """Run a program until it ends. Raises RuntimeError with its output if it fails."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        env=dict(environ),
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, said = await process.communicate()
    finally:
        await _stop(process)
    if process.returncode:
        raise RuntimeError(f"{arguments} failed: {said.decode(errors='replace')[-2000:]}")


@asynccontextmanager
async def suspended(pid: int) -> AsyncIterator[None]:
    """Suspend a process during the block, while jobs are prepared for it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def _is_ready(ready: str, log: Path) -> bool:
    if not ready.startswith("http://"):
        return ready in log.read_text(errors="replace")
    with suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session, session.get(ready):
            return True
    return False


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Stop a process, and kill the rest of its session."""
    if process.returncode is None:
        process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        if process.returncode is None:
            sys.stderr.write(f"process {process.pid} did not end when asked, and is killed\n")
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
