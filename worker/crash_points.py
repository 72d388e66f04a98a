"""Named moments at which a worker can be told to die, for drills: see docs/operations.md.

Each stands between two steps of a job's life. `DARKROOM_CRASH_AT` names one; the process then
kills itself there, as hard as the system can, the first time it gets to it.
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
    """Go on: no drill is on."""


def crash_hook_for(point: CrashPoint | None) -> CrashPointHook:
    """Return what the steps call at each point: it kills the process at the named one."""
    if point is None:
        return ignore_crash_points

    def reach(reached: CrashPoint) -> None:
        if reached == point:
            log.critical("crash_drill", point=point)
            os.kill(os.getpid(), signal.SIGKILL)

    return reach
