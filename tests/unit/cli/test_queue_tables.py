"""The queue says how the submits of each Kie account go, and at which rate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from producer.cli.display.tables.queue_tables import submits_text
from producer.monitoring.overview import KieAccountOverview
from shared.domain.alerts.system_state import SubmitPause, SubmitRate

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
HALF = SubmitRate(
    rate_after_refusal=8,
    limit=20,
    grows_at=NOW,
    growth_per_second=0.2,
    reason="rate_limited",
    message="too many requests",
    since=NOW - timedelta(minutes=1),
)


def pause(seconds: float) -> SubmitPause:
    return SubmitPause(NOW + timedelta(seconds=seconds), 1, "maintenance", "come back later")


@pytest.mark.parametrize(
    ("braked", "slowed", "budget", "text"),
    [
        (None, None, 20, "go on"),
        (None, HALF, 20, "8 of 20 per 10 s: rate_limited"),
        (pause(30), HALF, 20, "paused, then 8 of 20 per 10 s"),
        (pause(-1), HALF, 20, "one at a time, then 8 of 20 per 10 s"),
        (pause(-1), None, 20, "one at a time, then 20 per 10 s"),
        (pause(-1), None, 0, "one at a time"),
        (pause(-1), None, None, "one at a time"),
    ],
)
def test_the_rate_in_force_is_named_while_submits_are_paused_or_one_at_a_time(
    braked: SubmitPause | None, slowed: SubmitRate | None, budget: int | None, text: str
) -> None:
    account = KieAccountOverview("default", braked, budget, 3, None, None, slowed)
    assert submits_text(account, NOW, is_paused=False).plain == text
    assert submits_text(account, NOW, is_paused=True).plain == "paused by an operator"
