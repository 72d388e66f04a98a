"""Named points at which a worker kills itself, for drills: see docs/operations.md.

Each point stands between two steps of a job's life. `DARKROOM_CRASH_AT` names one. The process
sends itself SIGKILL the first time it reaches that point.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import structlog

from shared.settings import CrashPoint

log = structlog.get_logger(__name__)

CrashPointHook = Callable[[CrashPoint], None]


def ignore_crash_points(_: CrashPoint) -> None:
    """Do nothing. The default where no drill is configured."""


def crash_hook_for(point: CrashPoint | None) -> CrashPointHook:
    """Return the function that steps call at each point. It kills the process at `point`."""
    if point is None:
        return ignore_crash_points

    def reach(reached: CrashPoint) -> None:
        if reached == point:
            log.critical("crash_drill", point=point)
            os.kill(os.getpid(), signal.SIGKILL)

    return reach
