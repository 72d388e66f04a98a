"""What attempts should have cost between two readings of Kie's balance, and what drift is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isnan
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from worker.kie.expected_spend import (
    Baseline,
    ExpectedSpend,
    KieDelays,
    PaidAttempt,
    Reading,
    calculate_expected_spend,
    classify_balance,
)
from worker.metrics import BALANCE_FRESH_SECONDS, KieAccountMetrics

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
PATIENCE = KieDelays(post_seconds=90, task_seconds=1800)
LIMIT = Decimal(50)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def reading(seconds: float, balance: int = 1000) -> Reading:
    """A reading that took a second."""
    return Reading(at(seconds), at(seconds + 1), Decimal(balance))


# Readings at 0 and 600 seconds; attempts lie before, between, or across.
SINCE, UNTIL = reading(0), reading(600)


def attempt(sent: float, **changes: Any) -> PaidAttempt:
    """A job that succeeded 20 s after its POST, which was answered within a second."""
    whole = PaidAttempt(
        sent_at=at(sent),
        answered_at=at(sent + 1),
        outcome="accepted",
        state="succeeded",
        reason=None,
        finished_at=at(sent + 20),
        has_task=True,
        succeeded_late=False,
        credits=Decimal(6),
    )
    return replace(whole, **changes)


def failed(sent: float, **changes: Any) -> PaidAttempt:
    return attempt(sent, **{"state": "failed", "reason": "provider_failed", **changes})


def generating(sent: float) -> PaidAttempt:
    return attempt(sent, state="generating", finished_at=None)


def unknown(sent: float, **changes: Any) -> PaidAttempt:
    values = {"outcome": "unknown", "state": "unknown", "finished_at": None, "has_task": False}
    return attempt(sent, **{**values, **changes})


def lost(sent: float, **changes: Any) -> PaidAttempt:
    values = {"outcome": "lost", "state": "failed", "reason": "submission_lost"}
    return unknown(sent, **{**values, "finished_at": at(sent + 900), **changes})


def given_up(sent: float, **changes: Any) -> PaidAttempt:
    values = {"reason": "deadline_exceeded", "finished_at": at(sent + 1800), **changes}
    return failed(sent, **values)


@pytest.mark.parametrize(
    ("one", "low", "high", "settled"),
    [
        pytest.param(attempt(300), 6, 6, True, id="a success costs its price"),
        pytest.param(attempt(300, credits=Decimal("0.4")), "0.4", "0.4", True, id="fractions"),
        pytest.param(attempt(-300), 0, 0, True, id="a success before the first reading"),
        pytest.param(attempt(700), 0, 0, True, id="a success after the last reading"),
        pytest.param(attempt(-0.5), 0, 6, True, id="a POST under way at the first reading"),
        pytest.param(attempt(599.5), 0, 6, False, id="a POST under way at the last reading"),
        pytest.param(failed(300), 0, 0, True, id="a failure is refunded"),
        pytest.param(failed(-60), -6, 0, True, id="a failure across the first reading"),
        pytest.param(failed(-300), 0, 0, True, id="a failure refunded before"),
        pytest.param(failed(590), 0, 6, False, id="a failure told after the last reading"),
        pytest.param(failed(550), 0, 6, False, id="a failure whose refund may be on its way"),
        pytest.param(generating(300), 0, 6, False, id="a task under way may have failed unseen"),
        pytest.param(generating(-300), -6, 0, False, id="a task under way since before"),
        pytest.param(unknown(300), 0, 6, False, id="an unknown outcome costs all or nothing"),
        pytest.param(unknown(-300), -6, 0, False, id="an unknown one of before may be refunded"),
        pytest.param(unknown(300, outcome=None, state="submitting"), 0, 6, False, id="submitting"),
        pytest.param(lost(300), 0, 6, False, id="a lost one costs all or nothing"),
        pytest.param(lost(-300, has_task=True), -6, 0, False, id="a stray task of before"),
        pytest.param(lost(-3000), 0, 0, True, id="a lost one is over when its task must be"),
        pytest.param(lost(300, has_task=True, succeeded_late=True), 6, 6, True, id="late success"),
        pytest.param(given_up(-1500), -6, 0, False, id="one given up may be refunded any time"),
        pytest.param(
            given_up(-1500, succeeded_late=True), 0, 0, True, id="late images are no refund"
        ),
        pytest.param(
            given_up(-1500, failed_late_at=at(300)), -6, 0, True, id="a late failure is a refund"
        ),
        pytest.param(
            given_up(-1500, failed_late_at=at(590)), -6, 0, False, id="one that is on its way"
        ),
        pytest.param(
            given_up(300, failed_late_at=at(400)), 0, 0, True, id="charged and refunded between"
        ),
        pytest.param(given_up(-4000), 0, 0, True, id="one given up long ago is over"),
    ],
)
def test_an_attempt_explains(one: PaidAttempt, low: object, high: object, settled: bool) -> None:
    found = calculate_expected_spend([one], SINCE, UNTIL, PATIENCE)
    assert found == ExpectedSpend(Decimal(str(low)), Decimal(str(high)), settled)


def test_a_lost_task_stays_in_doubt_over_a_long_history() -> None:
    found = calculate_expected_spend([lost(-3000)], reading(-4000), UNTIL, PATIENCE)
    assert found == ExpectedSpend(Decimal(0), Decimal(6), settled=True)


def test_a_task_recovered_by_a_late_callback_was_charged_when_it_was_sent() -> None:
    recovered = attempt(-120, answered_at=at(300), finished_at=at(320))
    found = calculate_expected_spend([recovered], SINCE, UNTIL, PATIENCE)
    assert found == ExpectedSpend(Decimal(0), Decimal(0), settled=True)


def test_attempts_add_up_and_one_on_its_way_unsettles_all() -> None:
    found = calculate_expected_spend(
        [attempt(10), attempt(20, credits=Decimal(8)), unknown(30), failed(40)],
        SINCE,
        UNTIL,
        PATIENCE,
    )
    assert found == ExpectedSpend(Decimal(14), Decimal(20), settled=False)


def test_without_attempts_nothing_is_explained_and_all_is_settled() -> None:
    assert calculate_expected_spend([], SINCE, UNTIL, PATIENCE) == ExpectedSpend(
        Decimal(0), Decimal(0), True
    )


def test_without_an_earlier_reading_nothing_is_expected_but_settledness_is_known() -> None:
    found = calculate_expected_spend([generating(300)], None, UNTIL, PATIENCE)
    assert found == ExpectedSpend(Decimal(0), Decimal(0), settled=False)


def test_what_one_check_leaves_open_the_next_never_calls_drift() -> None:
    """A task that fails at Kie before we notice: the balance is ahead of our books, then not."""
    middle = reading(300)
    before = calculate_expected_spend([generating(250)], SINCE, middle, PATIENCE)
    assert before.low <= 0 <= before.high  # charged and refunded at Kie, generating with us
    after = calculate_expected_spend([failed(250, finished_at=at(310))], middle, UNTIL, PATIENCE)
    assert after.low <= 0 <= after.high


def baseline(balance: int = 1000, newest: int = 1000, unexplained: int = 0) -> Baseline:
    return Baseline(reading(0, balance), Decimal(newest), Decimal(unexplained))


@pytest.mark.parametrize(
    ("balance", "low", "high", "drift", "verdict"),
    [
        pytest.param(994, 6, 6, 0, "ok", id="as expected"),
        pytest.param(990, 6, 12, 0, "ok", id="within the range"),
        pytest.param(950, 0, 0, 50, "ok", id="just the threshold"),
        pytest.param(949, 0, 0, 51, "drift", id="above the threshold"),
        pytest.param(937, 6, 12, 51, "drift", id="counted from the high end"),
        pytest.param(999, 100, 100, -99, "drift", id="less than expected without a rise"),
        pytest.param(999, 40, 90, -39, "ok", id="counted from the low end"),
        pytest.param(5000, 0, 6, -4000, "topped_up", id="a rise"),
        pytest.param(1006, -6, 0, 0, "ok", id="a rise that refunds explain"),
        pytest.param(1007, -6, 0, -1, "topped_up", id="a rise beyond refunds"),
        pytest.param(990, 0, 51, 0, "unknown", id="a range too wide to tell"),
        pytest.param(990, 0, 50, 0, "ok", id="a range as wide as the threshold"),
        pytest.param(800, 0, 100, 100, "drift", id="beyond even a wide range"),
    ],
)
def test_a_balance_is_judged(balance: int, low: int, high: int, drift: int, verdict: str) -> None:
    expected = ExpectedSpend(Decimal(low), Decimal(high), settled=True)
    found = classify_balance(reading(600, balance), baseline(), expected, LIMIT)
    assert (found.status, found.drift) == (verdict, drift)


NOTHING = ExpectedSpend(Decimal(0), Decimal(0), settled=True)


def test_the_first_reading_has_nothing_to_be_compared_with() -> None:
    found = classify_balance(reading(0, 7), None, NOTHING, LIMIT)
    assert (found.status, found.drift, found.unexplained) == ("first", 0, 0)


@pytest.mark.parametrize(
    ("carried", "verdict"), [(40, "ok"), (41, "drift"), (-60, "ok"), (-61, "drift")]
)
def test_small_drifts_add_up_to_an_alert(carried: int, verdict: str) -> None:
    found = classify_balance(reading(600, 990), baseline(unexplained=carried), NOTHING, LIMIT)
    assert (found.status, found.drift) == (verdict, 10)
    assert found.unexplained == carried + 10


def test_a_top_up_is_seen_although_much_was_spent_since_the_baseline() -> None:
    expected = ExpectedSpend(Decimal(900), Decimal(900), settled=True)
    found = classify_balance(reading(600, 600), baseline(newest=100), expected, LIMIT)
    assert (found.status, found.drift) == ("topped_up", -500)


def test_a_top_up_keeps_what_was_unexplained_before_it() -> None:
    found = classify_balance(reading(600, 5000), baseline(unexplained=30), NOTHING, LIMIT)
    assert (found.status, found.unexplained) == ("topped_up", 30)


def test_the_gauges_show_a_check_until_another_worker_may_have_made_the_next() -> None:
    now = [100.0]
    registry = CollectorRegistry()
    gauges = KieAccountMetrics(registry, lambda: now[0])

    def shown() -> list[float]:
        names = ("darkroom_provider_balance_credits", "darkroom_provider_balance_drift_credits")
        values = [registry.get_sample_value(name, {"account": "studio"}) for name in names]
        return [value for value in values if value is not None and not isnan(value)]

    assert shown() == []
    gauges.set_balance("studio", Decimal("60.62"), Decimal(-7))
    now[0] += BALANCE_FRESH_SECONDS - 1
    assert shown() == [60.62, -7]
    now[0] += 1
    assert shown() == []
