"""The options of a hostile campaign."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SLOWER_AT_MOST = 1.5
MEMORY_BYTES_MAX = 300 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileOptions:
    """One campaign: honest jobs alone, then as many during hostile connections."""

    jobs: int = 200
    """The number of honest jobs in each of the two phases."""
    seconds: float = 120.0
    """The duration of each phase."""
    connections: int = 10_000
    """The number of hostile connections, evenly over the second phase."""
    slower_at_most: float = SLOWER_AT_MOST
    """By how much the 95th percentile of honest jobs may grow."""
    seed: int = 1
    descriptors: int = 1024
    """The soft and hard limit of descriptors of each process."""
    long_jobs: int = 300
    """The number of queued jobs with long prompts, which attackers list."""
    report: Path | None = None
    """The page whose section is rewritten. Default: none, the report is only printed."""


def read_command_line(arguments: Sequence[str]) -> HostileOptions:
    """Return the options of the arguments. Raises SystemExit if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile",
        description="Attacks the API and a worker with thousands of connections beside honest"
        " jobs, and judges what it cost these.",
        allow_abbrev=False,
    )
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="rewrite the section of this page")
    given = parser.parse_args(arguments)
    return HostileOptions(
        jobs=given.jobs,
        seconds=given.seconds,
        connections=given.connections,
        seed=given.seed,
        report=given.report,
    )
