"""Finds and runs the server programs of a system, such as PgBouncer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection
from time import monotonic, sleep
from typing import NoReturn

import pytest

NOT_INSTALLED = "not installed: "
_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin")
_POSTGRES_FOLDERS = Path("/usr/lib/postgresql")
_OLDEST = {
    "redis-server": ("--version", (7, 0, 0)),
    "postgres": ("--version", (15, 0, 0)),
    "nginx": ("-v", (1, 19, 5)),
}
"""How a program tells its version, and the oldest with which the tests can run."""
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


def find_program(name: str) -> str | None:
    """Return the path of an installed program, or None.

    Programs of PostgreSQL are those of its newest version, so that they fit each other.
    """
    versions = sorted(_POSTGRES_FOLDERS.glob("*/bin"), key=_version_of_folder, reverse=True)
    folders = [*map(str, versions), os.environ.get("PATH", ""), *_SYSTEM_FOLDERS]
    return shutil.which(name, path=os.pathsep.join(folders))


def _version_of_folder(folder: Path) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", folder.parent.name)))


def require_program(name: str) -> str:
    """Return the path of a program. Skips the test where it is not installed, or is too old."""
    path = find_program(name)
    if path is None:
        skip_for_want_of(name)
    if name in _OLDEST:
        option, oldest = _OLDEST[name]
        said = subprocess.run([path, option], capture_output=True, text=True, timeout=20)
        found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said.stdout + said.stderr)
        if found and tuple(int(part or 0) for part in found.groups()) < oldest:
            wanted = ".".join(map(str, oldest))
            skip_for_want_of(f"{name} {wanted}, only {found[0]}")
    return path


def skip_for_want_of(what: str) -> NoReturn:
    """Skip the test, which needs what is not installed."""
    pytest.skip(f"{NOT_INSTALLED}{what}")


def unprivileged_user() -> str | None:
    """Return the user for programs that refuse to run as root. None where we are not root."""
    return "nobody" if os.geteuid() == 0 else None


@contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """Yield a new folder that every user may enter and write, also where `TMPDIR` is private."""
    base = Path(tempfile.gettempdir()).resolve()
    is_open = all(one.stat().st_mode & 0o001 for one in (base, *base.parents))
    with tempfile.TemporaryDirectory(prefix=prefix, dir=base if is_open else "/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@contextmanager
def running_program(
    command: Sequence[str], log: Path, *, port: int, user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block. Yields when its port accepts connections."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, user=user)
    try:
        _wait_for_port(process, port, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = monotonic() + _START_SECONDS
    while process.poll() is None and monotonic() < give_up_at:
        try:
            create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            sleep(0.02)
        else:
            return
    raise AssertionError(f"{process.args!r} does not listen on {port}: {log.read_text()[-2000:]}")
