"""Lock files: the kernel frees a lock when its last holder dies, however it dies.

A holder passes its descriptor to the process that shall keep the lock, so a lock that is taken
proves a live process. That is what a PID file cannot do: a PID may be a zombie's, or reused.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def take_lock(path: Path) -> int | None:
    """Lock `path` (made if absent) and return its descriptor, or None when somebody holds it.

    The caller closes the descriptor; the lock lasts until every copy of it is closed.
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
        # The file was removed between opening and locking, so this lock would exclude nobody.
        os.close(descriptor)


def record_holder(descriptor: int, pid: int) -> None:
    """Write into the lock file which process holds it."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{pid}\n".encode(), 0)


def read_holder(path: Path) -> int | None:
    """Return the PID recorded in the lock file, or None; trust it only while the lock is held."""
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
