"""Counts the clients of the watchdog and decides when it is no longer needed."""

from __future__ import annotations

import asyncio

from shared.adapters.embedded.host.deadline import Deadline

FIRST_CLIENT_SECONDS = 10.0
"""How long a new watchdog waits for the client that started it, which may have died meanwhile."""


class ClientCount:
    """The open connections, and how long to linger after the last."""

    def __init__(self, first_client_seconds: float = FIRST_CLIENT_SECONDS) -> None:
        self._open = 0
        self._linger_seconds = 0.0
        self._leave_at = Deadline.after(first_client_seconds)
        self._ended = False
        self._changed = asyncio.Event()

    def add(self) -> None:
        """Count a client that came."""
        self._open += 1
        self._changed.set()

    def remove(self, linger_seconds: float) -> None:
        """Count a client that went; the greatest linger that any of them asked for holds."""
        self._open -= 1
        self._linger_seconds = max(self._linger_seconds, linger_seconds)
        self._leave_at = Deadline.after(self._linger_seconds)
        self._changed.set()

    def stop(self) -> None:
        """Be abandoned now, whoever is connected."""
        self._ended = True
        self._changed.set()

    async def wait_until_unused(self) -> None:
        """Return when no client is left and the last one's linger is over."""
        while not self._ended:
            if self._open == 0 and self._leave_at.is_over:
                return
            self._changed.clear()
            wait_seconds = None if self._open else self._leave_at.remaining_seconds
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._changed.wait()
            except TimeoutError:
                continue
