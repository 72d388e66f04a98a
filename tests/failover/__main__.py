"""`python -m tests.failover`: fails both servers over under load, and checks the outcome."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.failover.failover_report import MARKS, write_report
from tests.failover.failover_run import FailoverPlan, run_failover
from tests.support.report_page import rewrite_section


def main() -> int:
    """Run the campaigns one after the other. Return 0 if every count that must be zero is zero."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.failover",
        description="Kills the primaries of Postgres and Valkey under load and promotes others:"
        " with callbacks and without, and with an asynchronous standby that lost a second.",
        allow_abbrev=False,
    )
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--times", type=int, default=3, help="deaths of each primary")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds-between", type=float, default=20.0)
    parser.add_argument("--standby", choices=tuple(MARKS), help="default: one after the other")
    parser.add_argument("--report", type=Path, help="rewrite the failover section of this page")
    given = parser.parse_args(sys.argv[1:])
    is_clean = True
    for standby, (begin, end) in MARKS.items():
        if given.standby not in (None, standby):
            continue
        outcomes = [asyncio.run(run_failover(plan)) for plan in _plans(given, standby)]
        is_clean = is_clean and all(outcome.is_clean() for outcome in outcomes)
        report = write_report(outcomes)
        sys.stdout.write(report)
        if given.report is not None:
            rewrite_section(given.report, begin, end, report)
    return 0 if is_clean else 1


def _plans(given: argparse.Namespace, standby: str) -> Iterator[FailoverPlan]:
    is_synchronous = standby == "synchronous"
    for callbacks in (True, False) if is_synchronous else (True,):
        yield FailoverPlan(
            jobs=given.jobs,
            times=given.times,
            workers=given.workers,
            seed=given.seed,
            seconds_between=given.seconds_between,
            callbacks=callbacks,
            is_synchronous=is_synchronous,
        )


if __name__ == "__main__":
    sys.exit(main())
