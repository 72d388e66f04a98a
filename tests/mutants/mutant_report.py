"""Writes down what became of the mutants: a table to read, and a section of docs/reliability.md."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tests.mutants.mutant_trial import Fate, Trial

BEGIN = "<!-- mutants: written by `make mutants` -->"
END = "<!-- end of mutants -->"
_WIDTH = 100
_INTRODUCTION = (
    "A guard that can be removed without a failing test is not tested. `make mutants` copies the"
    " tree into a temporary directory, checks that the tests pass there, removes one guard at a"
    " time (`tests/mutants/mutants.toml` lists them), and reports which test fails. A mutant counts"
    " as caught if the test that is named for it fails, and another test of the same file still"
    " passes: a change that breaks the whole file proves nothing."
)

NOT_COVERED = (
    (
        "A caught mutant means that its own narrow test fails, not that a campaign would have hit"
        " the time at which the guard matters. `make campaign-mutants` tries that for five of the"
        " guards."
    ),
    (
        "One guard is removed at a time. Many guards have the same effect as another one. The"
        " removal of two at once was not tried."
    ),
    "The list was written by hand, so it may be incomplete.",
)


def table_row(trial: Trial) -> str:
    """Return one line for the terminal."""
    fate = trial.test if trial.fate is Fate.CAUGHT else f"{trial.fate}: {trial.test}"
    row = f"{trial.mutant.name:<26} {trial.mutant.guard:<58} {trial.seconds:>6.1f} s  {fate}"
    return row if trial.fate is Fate.CAUGHT or not trial.message else f"{row}: {trial.message}"


def conclusion(trials: Sequence[Trial]) -> str:
    """Return how many were caught, and the names of those that were not."""
    left = [f"{one.mutant.name} ({one.fate.lower()})" for one in trials if one.fate != Fate.CAUGHT]
    caught = f"{len(trials) - len(left)} of {len(trials)} mutants were caught"
    return f"{caught}; not: {', '.join(left)}" if left else caught


def write_section(trials: Sequence[Trial], *, started: datetime, took_seconds: float) -> str:
    """Return the section as Markdown."""
    lines = ["## Mutants", "", textwrap.fill(_INTRODUCTION, _WIDTH), ""]
    lines += [f"**{conclusion(trials)}.**", ""]
    lines += [
        (
            f"{started:%Y-%m-%d %H:%M} UTC, {took_seconds:.0f} s on {os.cpu_count()} cores,"
            f" {platform.system()} {platform.machine()}, Python {platform.python_version()}."
        ),
        "",
        "| mutant | removed guard | its purpose: without it | caught by | s |",
        "|---|---|---|---|--:|",
    ]
    for one in trials:
        fate = f"`{one.test}`" if one.fate is Fate.CAUGHT else f"**{one.fate}**"
        fate = fate.replace("|", "\\|")
        what = one.mutant
        lines.append(f"| {what.name} | {what.guard} | {what.why} | {fate} | {one.seconds:.1f} |")
    lines += ["", "What this does not show:", ""]
    lines += [textwrap.fill(f"- {one}", _WIDTH, subsequent_indent="  ") for one in NOT_COVERED]
    return "\n".join(lines)


def around_section(page: Path) -> tuple[str, str]:
    """Return what stands before and after the section; raises `ValueError` without its marks."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} needs the lines {BEGIN!r} and {END!r}; write them in")
    return before, after


def rewrite_section(page: Path, section: str) -> None:
    """Put the section between its two marks; raises `ValueError` where the page lacks them."""
    before, after = around_section(page)
    page.write_text(f"{before}{BEGIN}\n\n{section}\n\n{END}{after}", encoding="utf-8")
