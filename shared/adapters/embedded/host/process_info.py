"""Reads what the operating system knows about a process that is not a child."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PROC = Path("/proc")
_PS_SECONDS = 5.0


def is_alive(pid: int) -> bool:
    """Return whether the process runs. A zombie does not run."""
    if _has_proc():
        try:
            stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return False
        # The name is in parentheses and may have any character. The state follows the last one.
        return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
    state = _ask_ps(pid, "stat=")
    return bool(state) and not state.startswith("Z")


def has_file_open(pid: int, path: Path) -> bool:
    """Return whether the process has `path` open. Without /proc, return whether it is alive."""
    if not _has_proc():
        return is_alive(pid)
    try:
        links = list((_PROC / str(pid) / "fd").iterdir())
    except OSError:
        return False
    return any(_points_to(link, path) for link in links)


def is_postgres_of(pid: int, data_directory: Path) -> bool:
    """Return whether the process is a live Postgres server of this data directory."""
    if not is_alive(pid):
        return False
    if not _has_proc():
        command = _ask_ps(pid, "command=")
        return "postgres" in command and str(data_directory) in command
    try:
        name = (_PROC / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
        # The working directory of a Postgres process is its data directory.
        return name == "postgres" and (_PROC / str(pid) / "cwd").samefile(data_directory)
    except OSError:
        return False


def _has_proc() -> bool:
    return (_PROC / "self" / "stat").exists()


def _points_to(link: Path, path: Path) -> bool:
    try:
        return link.samefile(path)
    except OSError:
        return False


def _ask_ps(pid: int, column: str) -> str:
    answer = subprocess.run(
        ["ps", "-o", column, "-p", str(pid)],
        capture_output=True,
        text=True,
        timeout=_PS_SECONDS,
        check=False,
    )
    return answer.stdout.strip()
