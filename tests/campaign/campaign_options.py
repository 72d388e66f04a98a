"""The options of a campaign, such as the number of jobs and kills, and the seed of its plan."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Literal, get_args

from tests.support.arguments import at_least, positive, seconds_up_to

FaultLevel = Literal["usual", "harsh"]

_SEEDS = 1_000_000
_LONGEST_GAP_SECONDS = 600.0
_seconds = seconds_up_to(_LONGEST_GAP_SECONDS)
_FEWEST_KILLS = 7
"""One kill of each kind. A drill is two kills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignOptions:
    """One campaign. The seed repeats the plan and the orders, not how processes interleave."""

    jobs: int = 5_000
    kills: int = 500
    """Deaths by SIGKILL, including processes that kill themselves at a named point."""
    workers: int = 4
    seed: int
    report: Path | None = None
    """The page whose report section is rewritten. Default: none, the report is only printed."""
    seconds_per_kill: float = 2.5
    fault_level: FaultLevel = "usual"
    """Harsh: more lost replies, forged callbacks and freezes, and polls made due all the time."""
    poll_latency_seconds: float = 0.1
    task_seconds: float = 6.0
    """The median time that the simulated Kie takes for a task."""
    unknown_limit_seconds: float = 60.0
    callbacks: bool = True
    """Whether Kie sends callbacks. Without them, no lost reply can be recovered."""
    fsync: bool = True
    submits_per_10_seconds: int = 0
    """The limit of submits. With fewer than come, jobs wait for their turn. 0: no limit."""
    longest_wait_seconds: float | None = None
    """The time after the window in which every job must end. Default: the longest time of a job."""
    keep_logs: bool = False
    """Whether the logs of a clean run are kept. Those of other runs are always kept."""

    @property
    def window_seconds(self) -> float:
        """The time in which jobs arrive and processes are killed."""
        return self.kills * self.seconds_per_kill

    @property
    def limit_seconds(self) -> float:
        """The time after the window in which every job must end."""
        if self.longest_wait_seconds is not None:
            return self.longest_wait_seconds
        limit = self.submits_per_10_seconds
        backlog_seconds = 15 * self.jobs / limit if limit else 0.0
        return 2 * self.unknown_limit_seconds + 20 * self.task_seconds + backlog_seconds


def read_command_line(arguments: Sequence[str]) -> CampaignOptions:
    """Return the options of the arguments. Raises SystemExit if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaign",
        description="Kills every process of a deployment at random times, and checks the outcome"
        " by the record of the simulated Kie.",
        allow_abbrev=False,
    )
    parser.add_argument("--jobs", type=positive, default=5_000)
    parser.add_argument("--kills", type=at_least(_FEWEST_KILLS), default=500)
    parser.add_argument("--workers", type=positive, default=4)
    parser.add_argument("--seed", type=int, help="default: a new one, which is printed")
    parser.add_argument("--report", type=Path, help="rewrite the report section of this page")
    parser.add_argument("--seconds-per-kill", type=_seconds, default=2.5)
    parser.add_argument("--faults", choices=get_args(FaultLevel), default="usual")
    parser.add_argument("--poll-latency-seconds", type=_seconds, default=0.1)
    parser.add_argument("--unknown-limit-seconds", type=_seconds, default=60.0)
    parser.add_argument(
        "--longest-wait-seconds",
        type=_seconds,
        help="for the jobs to end, after the window",
    )
    parser.add_argument(
        "--submits-per-10-seconds",
        type=positive,
        default=0,
        help="the limit of submits, so that jobs wait for their turn; default: none",
    )
    parser.add_argument("--no-callbacks", action="store_true", help="Kie cannot call back")
    parser.add_argument("--keep-logs", action="store_true", help="of a clean run too")
    given = parser.parse_args(arguments)
    seed = SystemRandom().randrange(_SEEDS) if given.seed is None else given.seed
    return CampaignOptions(
        jobs=given.jobs,
        kills=given.kills,
        workers=given.workers,
        seed=seed,
        report=given.report,
        seconds_per_kill=given.seconds_per_kill,
        fault_level=given.faults,
        poll_latency_seconds=given.poll_latency_seconds,
        unknown_limit_seconds=given.unknown_limit_seconds,
        submits_per_10_seconds=given.submits_per_10_seconds,
        longest_wait_seconds=given.longest_wait_seconds,
        callbacks=not given.no_callbacks,
        keep_logs=given.keep_logs,
    )
