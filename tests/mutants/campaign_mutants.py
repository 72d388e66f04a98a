"""Reads the mutants that a whole campaign must notice, and tries them in a copy of the tree."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import monotonic

from tests.mutants.mutant_list import Mutant
from tests.mutants.tree_copy import TreeCopy

LISTING = Path(__file__).with_name("campaigns.toml")
SEED = 2026
_TIMEOUT_SECONDS = 900.0
_TAIL_LINES = 15
_BROKEN = re.compile(r"^\| (.+) \| \*\*\d+\*\*: (.*) \|$", re.MULTILINE)
_OF_THE_COPY = "commit: not in a repository"


class UnmutatedFails(Exception):
    """A campaign without any mutant is not clean, or is not the copy's: it can prove nothing."""


@dataclass(frozen=True, slots=True)
class CampaignMutant:
    """Guards that are removed together, and the expected result of a campaign."""

    name: str
    guard: str
    edits: tuple[Mutant, ...]
    arguments: tuple[str, ...]
    breaks: frozenset[str]
    """Counts of which at least one must not be zero. Empty if another guard has the effect."""
    behind: str
    """The guard with the same effect, or an empty text."""


class Fate(StrEnum):
    """The result of a trial. Only the first two are expected."""

    CAUGHT = "caught"
    HELD = "held by another guard"
    SURVIVED = "SURVIVED"
    UNSOUND = "UNSOUND"
    """Something else broke, or the campaign did not end."""


@dataclass(frozen=True, slots=True)
class CampaignTrial:
    """One mutant and its result."""

    mutant: CampaignMutant
    fate: Fate
    broken: tuple[str, ...]
    """Every count that was not zero, with its value."""
    seconds: float


def read_campaigns(listing: Path = LISTING) -> list[CampaignMutant]:
    """Return every mutant in the order of the list."""
    table = tomllib.loads(listing.read_text(encoding="utf-8"))
    return [
        CampaignMutant(
            name=row["name"],
            guard=row["guard"],
            edits=tuple(
                Mutant(name=edit, guard="", why="", caught_by=(), sound="", **one)
                for edit in row["edits"]
                for one in table["edits"][edit]
            ),
            arguments=tuple(table["arguments"][row["arguments"]]),
            breaks=frozenset(row.get("breaks", ())),
            behind=row.get("behind", ""),
        )
        for row in table["campaign"]
    ]


def check_unmutated(copy: TreeCopy, arguments: Sequence[str]) -> float:
    """Run a campaign over the copy as it is; return its seconds. Raises `UnmutatedFails`."""
    code, output, seconds = _run(copy, arguments)
    if code != 0 or _OF_THE_COPY not in output:
        tail = "\n".join(output.splitlines()[-_TAIL_LINES:])
        broken = "; ".join(_broken(output))
        raise UnmutatedFails(f"without a mutant a campaign left with {code}: {broken}\n{tail}")
    return seconds


def try_campaign(copy: TreeCopy, mutant: CampaignMutant) -> CampaignTrial:
    """Remove its guards, run the campaign, and restore them."""
    with ExitStack() as stack:
        for edit in mutant.edits:
            stack.enter_context(copy.without_guard(edit))
        code, output, seconds = _run(copy, mutant.arguments)
    return CampaignTrial(mutant, trial_of(mutant, code, output), _broken(output), seconds)


def trial_of(mutant: CampaignMutant, code: int | None, output: str) -> Fate:
    """Return the result of the mutant by the exit code and the output of the campaign."""
    if code == 0:
        return Fate.HELD if mutant.behind else Fate.SURVIVED
    zeros = {what for what, _ in _BROKEN.findall(output)}
    return Fate.CAUGHT if code == 1 and zeros & mutant.breaks else Fate.UNSOUND


def _broken(output: str) -> tuple[str, ...]:
    return tuple(match[1] for match in _BROKEN.finditer(output))


def _run(copy: TreeCopy, arguments: Sequence[str]) -> tuple[int | None, str, float]:
    started_at = monotonic()
    module = ["tests.campaign", "--seed", str(SEED), *arguments]
    code, output = copy.run_module(module, timeout_seconds=_TIMEOUT_SECONDS)
    return code, output, monotonic() - started_at
