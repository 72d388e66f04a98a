"""What attempts should have cost between two readings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from shared.domain.lifecycle import JobState, Reason

# Kie charges a task a little after it took the request, and refunds a little after the failure.
BOOKING_SECONDS = 60.0
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_REFUNDED = frozenset({Reason.PROVIDER_FAILED, Reason.CONTENT_POLICY})

BalanceStatus = Literal["first", "ok", "drift", "topped_up", "unknown"]


@dataclass(frozen=True, slots=True)
class PaidAttempt:
    """An attempt that may have cost credits; `credits` is Kie's price when it was sent."""

    sent_at: datetime
    answered_at: datetime | None
    outcome: str | None
    state: str
    reason: str | None
    finished_at: datetime | None
    has_task: bool
    succeeded_late: bool
    credits: Decimal
    failed_late_at: datetime | None = None
    """When Kie reported the failure, where that was after the end of the job."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Kie's balance at a time between `asked_at` and `at`."""

    asked_at: datetime
    at: datetime
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Baseline:
    """The check from which another is measured, and the drift that was not reported there."""

    reading: Reading
    newest_balance: Decimal
    """The balance of the newest check, which may be a later one."""
    unexplained: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class KieDelays:
    """How long Kie may take to receive a POST, and to end a task that is no longer polled."""

    post_seconds: float
    task_seconds: float


@dataclass(frozen=True, slots=True)
class ExpectedSpend:
    """What attempts should have cost between two readings."""

    low: Decimal
    high: Decimal
    settled: bool
    """Whether no charge or refund could fall on either side of the later reading."""


@dataclass(frozen=True, slots=True)
class BalanceCheckResult:
    """The result of a check; see the comments of `provider_balance_checks`."""

    status: BalanceStatus
    drift: Decimal = Decimal(0)
    unexplained: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class _CreditMovement:
    """A charge or a refund: whether it is certain, and between which times it happens."""

    sure: bool
    earliest: datetime
    latest: datetime

    def between(self, since: Reading | None, until: Reading) -> tuple[int, int]:
        """Return how often it happened between the readings, at least and at most."""
        if since is None or self.latest < since.asked_at or self.earliest > until.at:
            return 0, 0
        inside = self.earliest > since.at and self.latest < until.asked_at
        return int(self.sure and inside), 1

    def straddles(self, reading: Reading) -> bool:
        """Return whether it may have happened on either side of the reading."""
        return self.earliest <= reading.at and self.latest >= reading.asked_at


def calculate_expected_spend(
    attempts: Iterable[PaidAttempt], since: Reading | None, until: Reading, delays: KieDelays
) -> ExpectedSpend:
    """Return what the attempts should have cost between the readings. A refund counts below 0."""
    low = high = Decimal(0)
    settled = True
    for attempt in attempts:
        charge, refund = _charge(attempt, delays), _refund(attempt, delays)
        least, most = charge.between(since, until)
        settled = settled and not charge.straddles(until)
        if refund is not None:
            back_least, back_most = refund.between(since, until)
            least, most = least - back_most, most - back_least
            settled = settled and not refund.straddles(until)
        if since is not None and charge.earliest > since.at:
            least = max(
                least, 0
            )  # a charge that began after `since` cannot be refunded by more than it took
        low += least * attempt.credits
        high += most * attempt.credits
    return ExpectedSpend(low, high, settled)


def classify_balance(
    reading: Reading, baseline: Baseline | None, expected: ExpectedSpend, alert_credits: Decimal
) -> BalanceCheckResult:
    """Return what the reading means, given the spend that was expected since the baseline."""
    if baseline is None:
        return BalanceCheckResult("first")
    spent = baseline.reading.balance - reading.balance
    drift = spent - min(max(spent, expected.low), expected.high)
    rose = reading.balance > min(baseline.reading.balance, baseline.newest_balance)
    if drift < 0 and rose:
        return BalanceCheckResult("topped_up", drift, baseline.unexplained)
    unexplained = baseline.unexplained + drift
    if abs(unexplained) > alert_credits:
        return BalanceCheckResult("drift", drift, unexplained)
    too_wide = expected.high - expected.low > alert_credits
    return BalanceCheckResult("unknown" if too_wide else "ok", drift, unexplained)


def _charge(attempt: PaidAttempt, delays: KieDelays) -> _CreditMovement:
    latest = _after(attempt.sent_at, delays.post_seconds)
    if attempt.outcome == "accepted" and attempt.answered_at is not None:
        latest = min(latest, attempt.answered_at)
    sure = attempt.outcome == "accepted" or attempt.has_task
    return _CreditMovement(sure, attempt.sent_at, latest)


def _refund(attempt: PaidAttempt, delays: KieDelays) -> _CreditMovement | None:
    if attempt.succeeded_late or attempt.state == JobState.SUCCEEDED:
        return None
    if attempt.failed_late_at is not None:
        return _CreditMovement(
            True, attempt.sent_at, _after(attempt.failed_late_at, BOOKING_SECONDS)
        )
    if attempt.state == JobState.GENERATING:
        # Kie may have ended it already. The next poll reports it.
        return _CreditMovement(False, attempt.sent_at, _END_OF_TIME)
    ended_at = attempt.finished_at or attempt.sent_at
    if attempt.outcome == "accepted" and attempt.reason in _REFUNDED:
        return _CreditMovement(True, attempt.sent_at, _after(ended_at, BOOKING_SECONDS))
    # The task was given up or lost. Whether and when Kie refunded it is not known.
    begun_at = ended_at if attempt.outcome == "accepted" else attempt.sent_at
    latest = _after(begun_at, delays.task_seconds + BOOKING_SECONDS)
    return _CreditMovement(False, attempt.sent_at, latest)


def _after(moment: datetime, seconds: float) -> datetime:
    return moment + timedelta(seconds=seconds)
