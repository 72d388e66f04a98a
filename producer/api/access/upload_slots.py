"""Limits how many uploads are in progress in this process.

Each holds up to `UPLOAD_HELD_BYTES` and two connections, for as long as its client takes. The bytes
are also counted for its key, so that one key cannot use all slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from producer.api.responses.http_errors import TooManyRequests

MAX_UPLOADS = 128


class UploadSlots:
    """Counts the uploads in progress."""

    def __init__(self, max_uploads: int = MAX_UPLOADS) -> None:
        self._max_uploads = max_uploads
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
