"""Assigns processes to CPU cores, and reads CPU and memory use from the kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_core_set_aside() -> Iterator[int | None]:
    """Reserve one core: this process and its children use the others. Yields the core.

    Yields None on a machine with one core.
    """
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        yield None
        return
    aside = max(allowed)
    os.sched_setaffinity(0, allowed - {aside})
    try:
        yield aside
    finally:
        os.sched_setaffinity(0, allowed)


def put_on_core(pid: int, core: int | None) -> None:
    """Move all threads of a process to that core. None changes nothing."""
    if core is not None:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


def memory_mb(pid: int, which: str) -> float:
    """Return a memory value of a process in MB: `VmRSS`, or the peak `VmHWM`."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == which:
            return int(value.split()[0]) / 1024
    raise KeyError(which)


def busy_seconds() -> float:
    """Return the busy time of all cores of the machine, in core seconds."""
    ticks = [int(one) for one in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK")
