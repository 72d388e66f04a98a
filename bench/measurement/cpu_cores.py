"""Which core a measured process runs on, and how busy the machine was: read from the kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_core_set_aside() -> Iterator[int | None]:
    """Keep this process, and all that it starts, off one core; yields that core.

    Yields None on a machine of one core, where nothing can be set aside.
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
    """Let every thread of a process run on that core alone; None leaves it where it is."""
    if core is not None:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


def memory_mb(pid: int, which: str) -> float:
    """Return a memory figure of a process in MB: `VmRSS`, or the peak, `VmHWM`."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == which:
            return int(value.split()[0]) / 1024
    raise KeyError(which)


def busy_seconds() -> float:
    """Return how long the cores of the machine have been busy, summed over them."""
    ticks = [int(one) for one in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK")
