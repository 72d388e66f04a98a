"""Tries each mutant: the whole copy first, then one guard less at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.mutants.mutant_list import Mutant
from tests.mutants.tree_copy import Outcome, TreeCopy

_UNMUTATED_TIMEOUT_SECONDS = 600.0
_MUTANT_TIMEOUT_SECONDS = 150.0
_LINES_SHOWN = 30


class UnmutatedFails(Exception):
    """The tests fail without any mutant, so they can prove nothing about one."""


class Fate(StrEnum):
    """What became of a mutant. Only the first is good."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    UNSOUND = "UNSOUND"
    """It broke its file as such, or a test could not run: that proves nothing."""
    TOOK_TOO_LONG = "TOOK TOO LONG"


@dataclass(frozen=True, slots=True)
class Trial:
    """One mutant and what became of it."""

    mutant: Mutant
    fate: Fate
    test: str
    """The first test that failed, or why none did."""
    message: str
    seconds: float


def check_unmutated(copy: TreeCopy, mutants: Sequence[Mutant]) -> Outcome:
    """Run every selection once without a mutant. Raises `UnmutatedFails`."""
    wanted = dict.fromkeys(test for one in mutants for test in (one.sound, *one.caught_by))
    outcome = copy.run(list(wanted), timeout_seconds=_UNMUTATED_TIMEOUT_SECONDS, stop_early=False)
    if outcome.exit_code != 0:
        tail = "\n".join(outcome.output.splitlines()[-_LINES_SHOWN:])
        raise UnmutatedFails(f"without a mutant pytest left with {outcome.exit_code}:\n{tail}")
    return outcome


def try_all(copy: TreeCopy, mutants: Sequence[Mutant]) -> Iterator[Trial]:
    """Apply one mutant after the other, and yield what became of it."""
    for mutant in mutants:
        with copy.without_guard(mutant):
            outcome = copy.run(
                [mutant.sound, *mutant.caught_by],
                timeout_seconds=_MUTANT_TIMEOUT_SECONDS,
                stop_early=True,
            )
        yield trial_of(mutant, outcome)


def trial_of(mutant: Mutant, outcome: Outcome) -> Trial:
    """Tell from the first failure what became of the mutant."""

    def trial(fate: Fate, test: str, message: str = "") -> Trial:
        return Trial(mutant, fate, test, message, outcome.seconds)

    if outcome.exit_code is None:
        return trial(Fate.TOOK_TOO_LONG, "pytest was ended")
    if outcome.exit_code == 0:
        return trial(Fate.SURVIVED, f"{outcome.tests} tests passed")
    if outcome.exit_code != 1 or not outcome.failures:
        last = (outcome.output.strip().splitlines() or [""])[-1]
        return trial(Fate.UNSOUND, f"pytest left with {outcome.exit_code}", last)
    first = outcome.failures[0]
    named = {test.partition("::")[2].partition("[")[0] for test in mutant.caught_by}
    is_meant = first.test.partition("[")[0] in named
    # The sound test runs first. If it or a fixture fails, the trial shows nothing.
    if first.is_error or not is_meant:
        return trial(Fate.UNSOUND, first.test, first.message)
    return trial(Fate.CAUGHT, first.test, first.message)
