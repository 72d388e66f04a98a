"""Finds and runs the server programs of a system, such as PgBouncer."""

from __future__ import annotations

import os
import shutil
import subprocess
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
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


def find_program(name: str) -> str | None:
    """Return the path of an installed program, or None."""
    versions = sorted(_POSTGRES_FOLDERS.glob("*/bin"), reverse=True)
    folders = [os.environ.get("PATH", ""), *_SYSTEM_FOLDERS, *map(str, versions)]
    return shutil.which(name, path=os.pathsep.join(folders))


def require_program(name: str) -> str:
    """Return the path of a program. Skips the test where it is not installed."""
    path = find_program(name)
    if path is None:
        skip_for_want_of(name)
    return path


def skip_for_want_of(what: str) -> NoReturn:
    """Skip the test, which needs what is not installed."""
    pytest.skip(f"{NOT_INSTALLED}{what}")


def unprivileged_user() -> str | None:
    """Return the user for programs that refuse to run as root. None where we are not root."""
    return "nobody" if os.geteuid() == 0 else None


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
