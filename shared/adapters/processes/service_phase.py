"""The phases of a service process: it starts, serves, and stops.

Health endpoints report the phase to orchestrators and proxies. Listeners close the connections of a
process that stops.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

PROBE_PATHS = ("/healthz", "/readyz", "/startupz")
"""What orchestrators request. They have no key."""


class ServicePhase:
    """The phase of one process. A new one starts.

    A process that stops waits for `delay_seconds` before its drain. Proxies notice meanwhile that
    it is not ready, and new connections are still served.
    """

    def __init__(self, delay_seconds: float = 0.0) -> None:
        self.delay_seconds = delay_seconds
        self.is_started = False
        """Whether the start is complete."""
        self._stopping = asyncio.Event()
        self._delay_skipped = asyncio.Event()
        self._serving: asyncio.Task[Any] | None = None
        self._was_start_cancelled = False

    @property
    def is_stopping(self) -> bool:
        """Whether the process was told to stop."""
        return self._stopping.is_set()

    def finish_start(self) -> None:
        """Record that the start is complete."""
        self.is_started = True

    def begin_stop(self) -> None:
        """Record that the process stops. Further calls do nothing."""
        self._stopping.set()

    def receive_signal(self) -> None:
        """Handle SIGTERM or SIGINT: the first begins the stop, the second skips the delay.

        Before the start is complete, the first cancels the block of `handling_signals`.
        """
        if self.is_stopping:
            self._delay_skipped.set()
        elif self._serving is not None and not self.is_started:
            self._was_start_cancelled = True
            self._serving.cancel()
        self.begin_stop()

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Call `receive_signal` at each SIGTERM and SIGINT of this process, in the block.

        A start may wait for a server that does not answer. Such a block ends without an error.
        """
        self._serving = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.receive_signal)
        try:
            yield
        except asyncio.CancelledError:
            if not self._was_start_cancelled or self._serving is None:
                raise
            self._serving.uncancel()

    async def wait_for_stop(self) -> None:
        """Wait until the stop begins."""
        await self._stopping.wait()

    async def wait_for_delay(self) -> None:
        """Wait for `delay_seconds`, or until a second signal."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.delay_seconds):
                await self._delay_skipped.wait()
