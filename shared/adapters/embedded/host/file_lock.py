"""Lock files: the kernel releases a lock when its last holder ends.

A holder can pass its descriptor to a child process, which then holds the lock too. A held lock
proves a live process. A PID file cannot, because a PID may be a zombie's or reused.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def take_lock(path: Path) -> int | None:
    """Lock `path` (created if missing). Returns the descriptor, or None if the lock is held.

    The caller closes the descriptor. The lock lasts until all copies of it are closed.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        if _is_still_at(path, descriptor):
            return descriptor
        # The file was removed before it was locked, so this lock has no effect.
        os.close(descriptor)


def record_holder(descriptor: int, pid: int) -> None:
    """Write the id of the holding process into the lock file."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{pid}\n".encode(), 0)


def read_holder(path: Path) -> int | None:
    """Return the PID in the lock file, or None. Valid only while the lock is held."""
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isascii() and text.isdigit() else None


def _is_still_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
