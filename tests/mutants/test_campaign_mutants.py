"""The list of campaign mutants still applies, and the outcome of each is reported correctly."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

import pytest

from tests.campaign.campaign_options import read_command_line
from tests.mutants.campaign_mutants import CampaignTrial, Fate, read_campaigns, trial_of
from tests.mutants.tree_copy import ROOT
from tests.mutants.under_campaign import write_section
from tests.unit.campaign.sample_evidence import all_zeros

_TABLE = "| jobs charged twice | **2**: order-1 (a), order-2 (b) |\n| orders lost | 0 |\n"


def test_every_text_is_still_there_one_after_the_other() -> None:
    for mutant in read_campaigns():
        files: defaultdict[str, str] = defaultdict(str)
        for edit in mutant.edits:
            text = files[edit.file] or (ROOT / edit.file).read_text(encoding="utf-8")
            files[edit.file] = edit.applied_to(text)
        assert files, mutant.name


def test_every_mutant_is_meant_to_break_a_zero_that_there_is_or_to_be_held() -> None:
    for mutant in read_campaigns():
        assert bool(mutant.breaks) != bool(mutant.behind), mutant.name
        assert mutant.breaks <= all_zeros(), mutant.name
        assert read_command_line(["--seed", "1", *mutant.arguments]).fault_level == "harsh"


@pytest.mark.parametrize(
    ("name", "code", "output", "fate"),
    [
        ("capture key", 1, _TABLE, Fate.CAUGHT),
        ("capture key", 0, "", Fate.SURVIVED),
        ("capture key alone", 0, "", Fate.HELD),
        ("capture key alone", 1, _TABLE, Fate.UNSOUND),
        ("hold guard", 1, _TABLE, Fate.UNSOUND),
        ("capture key", 2, _TABLE, Fate.UNSOUND),
        ("capture key", None, _TABLE, Fate.UNSOUND),
    ],
)
def test_only_the_zero_that_is_meant_proves_a_guard(
    name: str, code: int | None, output: str, fate: Fate
) -> None:
    mutant = next(one for one in read_campaigns() if one.name == name)
    assert trial_of(mutant, code, output) is fate


def test_the_section_says_what_was_not_caught() -> None:
    mutants = read_campaigns()[:2]
    trials = [
        CampaignTrial(mutants[0], Fate.HELD, (), 61.0),
        CampaignTrial(mutants[1], Fate.SURVIVED, (), 62.0),
    ]
    section = write_section(trials, started=datetime(2026, 1, 2, tzinfo=UTC), took_seconds=200)
    assert "**1 of 2 had the expected result.**" in section
    assert f"because of another guard: {mutants[0].behind}" in section
    assert "**SURVIVED**" in section
