"""Limits how many uploads are in progress in this process, and how much of its time they take.

Each holds up to `UPLOAD_HELD_BYTES` and two connections, for as long as its client takes. The bytes
are also counted for its key, so that one key cannot use all slots.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from producer.api.responses.http_errors import TooManyRequests

MAX_UPLOADS = 128


class UploadSlots:
    """Counts the uploads in progress, and lets them take turns."""

    def __init__(self, max_uploads: int = MAX_UPLOADS) -> None:
        self._max_uploads = max_uploads
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_scheduled = False
        self.in_use = 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Count an upload during the block. Raises `TooManyRequests` if there is no slot."""
        if self.in_use >= self._max_uploads:
            raise TooManyRequests(
                f"{self.in_use} uploads are in progress here, and that is the most"
            )
        self.in_use += 1
        try:
            yield
        finally:
            self.in_use -= 1

    async def wait_for_turn(self) -> None:
        """Wait until this upload may process its next part.

        Each iteration of the event loop continues one upload, so other requests, which need several
        iterations, never wait for the parts of all uploads.
        """
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if not self._is_scheduled:
            self._schedule()
        await turn

    def _schedule(self) -> None:
        self._is_scheduled = True
        asyncio.get_running_loop().call_soon(self._continue_next)

    def _continue_next(self) -> None:
        self._is_scheduled = False
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        if self._waiting:
            self._schedule()
