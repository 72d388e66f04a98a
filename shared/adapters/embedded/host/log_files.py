"""Opens, truncates and quotes the log files of the servers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LINES_QUOTED = 20
_BYTES_READ = 32 * 1024
_BYTES_KEPT = 4 * 1024 * 1024


def open_log(path: Path) -> int:
    """Open for appending, and return the descriptor. Moves a file above 4 MiB away first."""
    if path.exists() and path.stat().st_size > _BYTES_KEPT:
        path.replace(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def truncate_logs(directory: Path, bytes_kept: int = _BYTES_KEPT) -> None:
    """Move the content of logs above the limit to `.log.1`, while processes write to them.

    Writers have the log open for appending, so their next line is at its start. Raises OSError.
    """
    for path in directory.glob("*.log"):
        if path.stat().st_size > bytes_kept:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)


def format_log_tail(path: Path) -> str:
    """Return the end of the log as a block to append to an error message."""
    lines = _last_lines(path)
    if not lines:
        return f" ({path} is empty)"
    return f"; the last lines of {path}:\n" + "\n".join(f"  {line}" for line in lines)


def _last_lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _BYTES_READ))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-LINES_QUOTED:]
