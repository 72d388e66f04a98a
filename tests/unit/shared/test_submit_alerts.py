"""The alerts about submits that workers pause or slow down, and the rate in force at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.alerts.system_state import RedisState, SubmitRate
from tests.unit.shared.test_alert_rules import GONE, NOW, PAUSE, ROUTE, SLOW, ago, alerts_of

SLOWED = "submits_slowed"


def names(rate: SubmitRate, **state: object) -> list[str]:
    return [one.name for one in alerts_of(RedisState(rates=(("default", rate),)), **state)]


@pytest.mark.parametrize(
    ("seconds", "in_force"), [(-20, 1), (0, 1), (1, 1), (15, 7), (44, 19), (45, 20), (9000, 20)]
)
def test_the_rate_grows_from_the_end_of_its_hold_to_the_limit(seconds: int, in_force: int) -> None:
    rate = SubmitRate(1.0, 20, NOW, 19 / 45, "maintenance", "455", ago(60))
    at = NOW + timedelta(seconds=seconds)
    assert rate.in_force(at) == in_force
    assert rate.is_slowed(at) == (seconds < 45)


def test_a_limit_of_one_is_in_force_whatever_was_refused() -> None:
    rate = SubmitRate(1.0, 1, NOW, 0.0, "maintenance", "455", ago(60))
    assert (rate.in_force(NOW), rate.is_slowed(NOW)) == (1, False)


@pytest.mark.parametrize(
    "change",
    [{"since": ago(299)}, {"rate_after_refusal": 10.0}, {"grows_at": ago(60)}],
    ids=["for a short time", "by half", "recovered"],
)
def test_submits_that_are_slowed_down_so_are_no_alert(change: dict[str, object]) -> None:
    assert names(SLOW) == [SLOWED]
    assert names(replace(SLOW, **change)) == []  # type: ignore[arg-type]


def test_a_paused_account_is_not_reported_as_slow_as_well() -> None:
    redis = RedisState(pauses=(("default", PAUSE),), rates=(("default", SLOW), ("studio", SLOW)))
    assert [(one.name, one.subject) for one in alerts_of(redis)] == [
        ("submits_paused", "default"),
        (SLOWED, "studio"),
    ]


def test_a_slow_rate_explains_why_nothing_was_submitted_for_some_seconds() -> None:
    waits = {"due": 9, "waiting_since": ago(60), "last_submitted_at": ago(40)}
    fresh = replace(SLOW, since=ago(20))
    assert names(fresh, **waits) == []
    assert names(replace(fresh, grows_at=ago(60)), **waits) == ["nothing_is_submitted"]


def test_a_family_by_which_nothing_is_sent_any_more_raises_no_alert() -> None:
    redis = RedisState(family_pauses=(("default", "4o", GONE),))
    assert alerts_of(redis, routes=(ROUTE,)) == []
    assert [one.name for one in alerts_of(redis)] == ["submits_paused"]
    waits = {"due": 9, "waiting_since": ago(60), "last_submitted_at": ago(40)}
    assert alerts_of(redis, **waits)[0].name == "submits_paused"
    assert [one.name for one in alerts_of(redis, routes=(ROUTE,), **waits)] == [
        "nothing_is_submitted"
    ]
