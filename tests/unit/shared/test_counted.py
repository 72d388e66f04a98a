"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from shared.domain.alerts.system_state import QUEUED_COUNT_MAX, count_jobs
from shared.domain.counted import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), (1200, "1,200 jobs")]
)
def test_a_number_has_its_noun_in_the_right_form(number: int, text: str) -> None:
    assert counted(number, "job") == text


def test_the_verb_follows_the_number_of_jobs() -> None:
    assert count_jobs(1, "waits", "wait") == "1 job waits"
    assert count_jobs(2, "waits", "wait") == "2 jobs wait"
    assert (
        count_jobs(QUEUED_COUNT_MAX, "waits", "wait") == f"{QUEUED_COUNT_MAX:,} jobs or more wait"
    )
