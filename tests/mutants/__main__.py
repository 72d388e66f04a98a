"""`python -m tests.mutants`: removes each guard in a copy, and reports which test fails."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from tests.mutants.mutant_list import Mutant, chosen, read_mutants
from tests.mutants.mutant_report import (
    around_section,
    conclusion,
    rewrite_section,
    table_row,
    write_section,
)
from tests.mutants.mutant_trial import Fate, Trial, UnmutatedFails, check_unmutated, try_all
from tests.mutants.tree_copy import temporary_copy


def main() -> int:
    """Try the mutants. Return 0 if all were caught, 1 if one was not, 2 if none could be tried."""
    options = _read_command_line(sys.argv[1:])
    try:
        mutants = chosen(read_mutants(), options.only)
        if options.report is not None:
            around_section(options.report)  # better refused now than after some minutes
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.list:
        for mutant in mutants:
            sys.stdout.write(f"{mutant.name:<26} {mutant.guard}\n")
        return 0
    started, started_at = datetime.now(UTC), monotonic()
    try:
        trials = _try(mutants)
    except UnmutatedFails as error:
        sys.stderr.write(f"{error}\n")
        return 2
    took_seconds = monotonic() - started_at
    sys.stdout.write(f"\n{conclusion(trials)} in {took_seconds:.0f} s\n")
    if options.report is not None:
        section = write_section(trials, started=started, took_seconds=took_seconds)
        rewrite_section(options.report, section)
    return 0 if all(trial.fate is Fate.CAUGHT for trial in trials) else 1


def _try(mutants: list[Mutant]) -> list[Trial]:
    trials = []
    with temporary_copy() as copy:
        sys.stdout.write(f"{len(mutants)} mutants, one at a time, in {copy.root}\n")
        sys.stdout.flush()
        unmutated = check_unmutated(copy, mutants)
        sys.stdout.write(
            f"without a mutant all {unmutated.tests} tests pass, in {unmutated.seconds:.0f} s\n\n"
        )
        for trial in try_all(copy, mutants):
            trials.append(trial)
            sys.stdout.write(f"{table_row(trial)}\n")
            sys.stdout.flush()
    return trials


def _read_command_line(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the mutants, and run nothing")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="this mutant; may be repeated"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="PAGE",
        help="rewrite the section of this page; not with --only",
    )
    options = parser.parse_args(arguments)
    if options.report is not None and options.only:
        parser.error("--report is for a whole run: leave out --only")
    return options


if __name__ == "__main__":
    sys.exit(main())
