"""The event loop of Darkroom's long-running processes: uvloop where there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop, for `asyncio.Runner`; None means asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:  # uvloop has no build for every system; asyncio's own loop will do
        return None
    return uvloop.new_event_loop
