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
        "--patience-seconds",
        type=_seconds,
        default=defaults.patience_seconds,
    )
    parser.add_argument("--peers", type=_libraries, default=LIBRARIES, metavar="NAME,...")
    parser.add_argument("--report", type=Path, help="rewrite the section of this page")
    given = parser.parse_args(arguments)
    blows = KillPlan(
        jobs=given.jobs,
        kills=given.kills,
        workers=given.workers,
        seed=given.seed,
        window_seconds=given.window_seconds,
        patience_seconds=given.patience_seconds,
    )
    return blows, given.peers, given.report


def main() -> int:
    """Run it. Returns 0, or 1 if a peer could not be installed."""
    blows, libraries, page = read_command_line(sys.argv[1:])
    try:
        fighters: list[KillTarget] = [DarkroomTarget(), *map(PeerTarget, libraries)]
    except PeerUnavailableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    runs = 2 * len(fighters)
    sys.stderr.write(
        f"{runs} runs, each {blows.window_seconds:.0f} s of blows; then up to"
        f" {blows.patience_seconds:.0f} s of patience for all together\n"
    )
    load = os.getloadavg()[0]
    try:
        found = asyncio.run(_endure_all(fighters, blows))
    except asyncio.CancelledError:
        sys.stderr.write("ended by SIGTERM\n")
        return 1
    section = write_section(found, blows, libraries, (load, os.getloadavg()[0]))
    sys.stdout.write(section)
    if page is not None:
        rewrite_section(page, BEGIN, END, section)
    return 0


async def _endure_all(fighters: Sequence[KillTarget], blows: KillPlan) -> list[KillResult]:
    """Kill one target at a time. The wait for its open jobs overlaps with the next target."""
    end_on_sigterm()
    turn = asyncio.Lock()
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_one(fighter, blows, Path(folder), turn, flush=flush))
                for flush in (False, True)
                for fighter in fighters
            ]
        return [task.result() for task in tasks]


async def _one(
    fighter: KillTarget, blows: KillPlan, folder: Path, turn: asyncio.Lock, *, flush: bool
) -> KillResult:
    own = folder / f"{fighter.name.split()[0].lower()}{'-flushed' if flush else ''}"
    own.mkdir()
    found = await run_under_kills(fighter, blows, own, turn, flush=flush)
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
