"""A Kie that makes of each job what the test has said."""

from __future__ import annotations

import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

MESSAGES = {
    "content_policy": "Your content was flagged by OpenAI as violating content policies",
    "provider_failed": "internal error, please try again later.",
    "rejected": "Kie refused the request",
}
"""What Kie says for each reason, unless the test says something else."""


@dataclass(frozen=True)
class Outcome:
    """What Kie makes of one job."""

    reason: str | None = None
    """Why it fails, such as `content_policy`, `provider_failed`, `rejected`. None: it succeeds."""
    message: str | None = None
    images: Sequence[bytes] | None = None
    """The images of a success. None: as many as were ordered, of one colour."""
    seconds: float = 0.0
    """How long Kie takes."""
    progress: Sequence[float] = ()
    """What Kie reports meanwhile, at equal intervals."""


class ScriptedKie:
    """What becomes of the next jobs. Without a script, each succeeds at once."""

    def __init__(self) -> None:
        self._next: deque[Outcome] = deque()
        self._lock = threading.Lock()
        self._is_free = threading.Event()
        self._is_free.set()
        self.every = Outcome()
        """What becomes of jobs that no script is left for."""
        self.decide: Callable[[Mapping[str, Any]], Outcome | None] | None = None
        """Given the job object, returns what becomes of it, or None for the script."""
        self.on_release: Callable[[], None] = lambda: None

    def succeed(self, images: Sequence[bytes] | None = None, *, seconds: float = 0.0) -> None:
        """Let the next job succeed, with these images."""
        self.script(Outcome(images=images, seconds=seconds))

    def fail(
        self, reason: str = "provider_failed", message: str | None = None, *, seconds: float = 0.0
    ) -> None:
        """Let the next job fail for this reason."""
        self.script(Outcome(reason=reason, message=message, seconds=seconds))

    def take(self, seconds: float, progress: Sequence[float] = ()) -> None:
        """Let the next job succeed after so long."""
        self.script(Outcome(seconds=seconds, progress=progress))

    def script(self, *outcomes: Outcome) -> None:
        """Add what becomes of the next jobs, in the order in which they are submitted."""
        with self._lock:
            self._next.extend(outcomes)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Submit no job while the block runs: jobs stay queued, and can be cancelled."""
        self._is_free.clear()
        try:
            yield
        finally:
            self._is_free.set()
            self.on_release()

    @property
    def is_held(self) -> bool:
        """Whether jobs stay queued."""
        return not self._is_free.is_set()

    def outcome_of(self, job: Mapping[str, Any]) -> Outcome:
        """Return what becomes of this job."""
        decided = self.decide(job) if self.decide is not None else None
        if decided is not None:
            return decided
        with self._lock:
            return self._next.popleft() if self._next else self.every


def one_colour_png(number: int, width: int = 8, height: int = 8) -> bytes:
    """Return a small PNG whose colour depends on the number."""
    pixel = bytes(((number * 67) % 256, (number * 131) % 256, 160))
    rows = (b"\0" + pixel * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
