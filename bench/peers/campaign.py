"""`python -m bench.peers.campaign`: runs Darkroom and its peers under the same kills."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.measurement.measured_process import end_on_sigterm
from bench.peers.kill_report import BEGIN, END, write_section
from bench.peers.kill_run import (
    DarkroomTarget,
    KillPlan,
    KillResult,
    KillTarget,
    PeerTarget,
    run_under_kills,
)
from bench.peers.peer_environments import PeerUnavailableError
from tests.support.arguments import positive, seconds_up_to
from tests.support.report_page import rewrite_section

LIBRARIES = ("arq", "saq", "streaq")
_LONGEST_PATIENCE_SECONDS = 3600.0
_seconds = seconds_up_to(_LONGEST_PATIENCE_SECONDS)


def read_command_line(arguments: Sequence[str]) -> tuple[KillPlan, tuple[str, ...], Path | None]:
    """Return the kill plan, the libraries, and the page to rewrite, if any.

    Raises SystemExit if the arguments are invalid.
    """
    defaults = KillPlan()
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers.campaign",
        description="Kills the workers of Darkroom and of pipelines made by hand on its peers, and"
        " judges by the record of the simulated Kie.",
        allow_abbrev=False,
    )
    parser.add_argument("--jobs", type=positive, default=defaults.jobs)
    parser.add_argument("--kills", type=positive, default=defaults.kills)
    parser.add_argument("--workers", type=positive, default=defaults.workers)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument(
        "--window-seconds",
        type=_seconds,
        default=defaults.window_seconds,
    )
    parser.add_argument(
        "--limit-seconds",
        type=_seconds,
        default=defaults.limit_seconds,
    )
    parser.add_argument("--peers", type=_libraries, default=LIBRARIES, metavar="NAME,...")
    parser.add_argument("--report", type=Path, help="rewrite the section of this page")
    given = parser.parse_args(arguments)
    plan = KillPlan(
        jobs=given.jobs,
        kills=given.kills,
        workers=given.workers,
        seed=given.seed,
        window_seconds=given.window_seconds,
        limit_seconds=given.limit_seconds,
    )
    return plan, given.peers, given.report


def main() -> int:
    """Run it. Returns 0, or 1 if a peer could not be installed."""
    plan, libraries, page = read_command_line(sys.argv[1:])
    try:
        targets: list[KillTarget] = [DarkroomTarget(), *map(PeerTarget, libraries)]
    except PeerUnavailableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    runs = 2 * len(targets)
    sys.stderr.write(
        f"{runs} runs, each {plan.window_seconds:.0f} s of kills; then up to"
        f" {plan.limit_seconds:.0f} s until all jobs have ended\n"
    )
    load = os.getloadavg()[0]
    try:
        found = asyncio.run(_run_all(targets, plan))
    except asyncio.CancelledError:
        sys.stderr.write("ended by SIGTERM\n")
        return 1
    section = write_section(found, plan, libraries, (load, os.getloadavg()[0]))
    sys.stdout.write(section)
    if page is not None:
        rewrite_section(page, BEGIN, END, section)
    return 0


async def _run_all(targets: Sequence[KillTarget], plan: KillPlan) -> list[KillResult]:
    """Kill one target at a time. The wait for its open jobs overlaps with the next target."""
    end_on_sigterm()
    turn = asyncio.Lock()
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_one(target, plan, Path(folder), turn, flush=flush))
                for flush in (False, True)
                for target in targets
            ]
        return [task.result() for task in tasks]


async def _one(
    target: KillTarget, plan: KillPlan, folder: Path, turn: asyncio.Lock, *, flush: bool
) -> KillResult:
    own = folder / f"{target.name.split()[0].lower()}{'-flushed' if flush else ''}"
    own.mkdir()
    found = await run_under_kills(target, plan, own, turn, flush=flush)
    sys.stderr.write(f"{found}\n")
    return found


def _libraries(text: str) -> tuple[str, ...]:
    names = () if text == "none" else tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in LIBRARIES]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)} must be some of {', '.join(LIBRARIES)}, or none"
        )
    return names


if __name__ == "__main__":
    sys.exit(main())
