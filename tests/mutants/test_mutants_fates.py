"""A mutant counts as caught only if the test that is named for it fails."""

from __future__ import annotations

import pytest

from tests.mutants.mutant_list import Mutant
from tests.mutants.mutant_report import conclusion, table_row
from tests.mutants.mutant_trial import Fate, trial_of
from tests.mutants.tree_copy import Failure, Outcome

MUTANT = Mutant(
    name="fence",
    guard="the fence",
    why="",
    file="f.sql",
    find="",
    replace="",
    caught_by=("tests/test_f.py::test_fence[one]",),
    sound="tests/test_f.py::test_file",
)
FOUND = Failure("test_fence[one]", False, "assert 1 == 2")


def ended(exit_code: int | None, *failures: Failure) -> Outcome:
    return Outcome(exit_code, failures, 2, 1.5, "the last line")


@pytest.mark.parametrize(
    ("outcome", "fate"),
    [
        (ended(1, FOUND), Fate.CAUGHT),
        (ended(0), Fate.SURVIVED),
        (ended(1, Failure("test_file", False, "broken")), Fate.UNSOUND),
        (ended(1, Failure("test_fence[one]", True, "no server")), Fate.UNSOUND),
        (ended(4), Fate.UNSOUND),
        (ended(1), Fate.UNSOUND),
        (ended(None), Fate.TOOK_TOO_LONG),
    ],
    ids=["caught", "survived", "broken-file", "no-fixture", "not-collected", "no-report", "late"],
)
def test_a_mutant_is_caught_by_the_test_that_is_named_for_it_alone(
    outcome: Outcome, fate: Fate
) -> None:
    trial = trial_of(MUTANT, outcome)
    assert trial.fate is fate
    expected = "1 of 1 mutants were caught"
    if fate is not Fate.CAUGHT:
        expected = f"0 of 1 mutants were caught; not: fence ({fate.lower()})"
        assert fate in table_row(trial)
    assert conclusion([trial]) == expected
