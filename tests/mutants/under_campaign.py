"""`python -m tests.mutants.under_campaign`: reports whether campaigns detect a missing guard."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from tests.mutants.campaign_mutants import (
    SEED,
    CampaignMutant,
    CampaignTrial,
    Fate,
    UnmutatedFails,
    check_unmutated,
    read_campaigns,
    try_campaign,
)
from tests.mutants.tree_copy import temporary_copy
from tests.support.report_page import rewrite_section

BEGIN = "<!-- campaign mutants: written by `make campaign-mutants` -->"
END = "<!-- end of campaign mutants -->"
_WIDTH = 100
_GOOD = frozenset({Fate.CAUGHT, Fate.HELD})
_INTRODUCTION = (
    "The campaign is a test as well, so it must fail if a guard is missing. `make"
    " campaign-mutants` copies the tree, checks that short campaigns pass there, removes a guard"
    " and runs the same campaign. If it fails, the table names the count that is not zero. If it"
    " passes because a second guard has the same effect, the table names that guard, and a further"
    " row removes both."
)


def main() -> int:
    """Try them; 0 where each was caught or held as expected, 1 where not, 2 where none could be."""
    options = _read_command_line(sys.argv[1:])
    mutants = [one for one in read_campaigns() if not options.only or one.name in options.only]
    started, started_at = datetime.now(UTC), monotonic()
    try:
        trials = _try_all(mutants)
    except UnmutatedFails as error:
        sys.stderr.write(f"{error}\n")
        return 2
    section = write_section(trials, started=started, took_seconds=monotonic() - started_at)
    sys.stdout.write(f"\n{section}\n")
    if options.report is not None:
        rewrite_section(options.report, BEGIN, END, section)
    return 0 if all(trial.fate in _GOOD for trial in trials) else 1


def _try_all(mutants: Sequence[CampaignMutant]) -> list[CampaignTrial]:
    trials = []
    with temporary_copy() as copy:
        for arguments in dict.fromkeys(mutant.arguments for mutant in mutants):
            seconds = check_unmutated(copy, arguments)
            _say(f"clean without a mutant, in {seconds:.0f} s: {' '.join(arguments)}")
        for mutant in mutants:
            trial = try_campaign(copy, mutant)
            trials.append(trial)
            broken = ", ".join(trial.broken) or "nothing broke"
            _say(f"{mutant.name:<20} {trial.seconds:>5.0f} s  {trial.fate}: {broken}")
    return trials


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def write_section(
    trials: Sequence[CampaignTrial], *, started: datetime, took_seconds: float
) -> str:
    """Return the section as Markdown."""
    return "\n".join(_lines(trials, started, took_seconds))


def _lines(
    trials: Sequence[CampaignTrial], started: datetime, took_seconds: float
) -> Iterator[str]:
    good = sum(trial.fate in _GOOD for trial in trials)
    yield "## Mutants under a campaign"
    yield ""
    yield textwrap.fill(_INTRODUCTION, _WIDTH, break_on_hyphens=False)
    yield ""
    yield f"**{good} of {len(trials)} had the expected result.**"
    yield ""
    yield (
        f"{started:%Y-%m-%d %H:%M} UTC, {took_seconds:.0f} s, seed {SEED}, on {os.cpu_count()}"
        f" cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}."
    )
    yield ""
    yield "| removed guard | result of the campaign | s |"
    yield "|---|---|--:|"
    for trial in trials:
        yield f"| {trial.mutant.guard} | {_words(trial)} | {trial.seconds:.0f} |"


def _words(trial: CampaignTrial) -> str:
    broken = "; ".join(trial.broken)
    if trial.fate is Fate.CAUGHT:
        return f"caught: {broken}"
    if trial.fate is Fate.HELD:
        return f"clean, because of another guard: {trial.mutant.behind}"
    return f"**{trial.fate}** {broken}"


def _read_command_line(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.under_campaign")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--report", type=Path, metavar="PAGE", help="not with --only")
    options = parser.parse_args(arguments)
    if options.report is not None and options.only:
        parser.error("--report is for a whole run: leave out --only")
    if strange := set(options.only) - {one.name for one in read_campaigns()}:
        parser.error(f"no campaign is called {', '.join(sorted(strange))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
