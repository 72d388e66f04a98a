"""Compares Kie's credit balance with what our attempts explain; notes it, and corrects nothing.

A charge happens between the claim and the reply, a refund between the claim and the moment when
we learn of the failure. What certainly lies between two readings of the balance counts exactly;
what may lie on either side of one widens the range of what was to be expected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import structlog

from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.postgres.database import Queries
from shared.domain.lifecycle import JobState, Reason
from worker.dependencies import Dependencies
from worker.kie.account_pool import KieAccount

log = structlog.get_logger(__name__)

BALANCE_CHECK_SECONDS = 60.0
_MIN_SECONDS_BETWEEN_CHECKS = 45.0
_CHECKS_QUIET_SECONDS = 90.0
"""Longer than the minute between two checks."""
_LOOK_BACK_SECONDS = 3600.0
# Kie books a task a little after it took the request, and a refund a little after the failure.
_BOOKING_SECONDS = 60.0
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
    """When Kie's verdict of failure came, where it came after the end of the job."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Kie's balance, as of a moment between `asked_at` and `at`."""

    asked_at: datetime
    at: datetime
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Baseline:
    """The check that another is measured from, and the drift that was not yet told there."""

    reading: Reading
    newest_balance: Decimal
    """The balance of the newest check, which may be a later one."""
    unexplained: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class KieDelays:
    """How long Kie may take: to get a POST, and to end a task that we lost sight of."""

    post_seconds: float
    task_seconds: float


@dataclass(frozen=True, slots=True)
class ExpectedSpend:
    """What attempts should have cost between two readings."""

    low: Decimal
    high: Decimal
    settled: bool
    """Whether no charge or refund was on its way at the later reading."""


@dataclass(frozen=True, slots=True)
class BalanceCheckResult:
    """What a check found; see the comments of `provider_balance_checks`."""

    verdict: BalanceStatus
    drift: Decimal = Decimal(0)
    unexplained: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class _CreditMovement:
    """A charge or a refund: whether it is sure, and between which moments it happens."""

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
    """Return what the attempts should have cost between the readings; refunds count below 0."""
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
            least = max(least, 0)  # what began since then cannot give back more than it took
        low += least * attempt.credits
        high += most * attempt.credits
    return ExpectedSpend(low, high, settled)


def classify_balance(
    reading: Reading, baseline: Baseline | None, expected: ExpectedSpend, alert_credits: Decimal
) -> BalanceCheckResult:
    """Return what the balance says, given what was to be expected since the baseline."""
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
            True, attempt.sent_at, _after(attempt.failed_late_at, _BOOKING_SECONDS)
        )
    if attempt.state == JobState.GENERATING:
        # Kie may have ended it already: we learn of that with the next poll.
        return _CreditMovement(False, attempt.sent_at, _END_OF_TIME)
    ended_at = attempt.finished_at or attempt.sent_at
    if attempt.outcome == "accepted" and attempt.reason in _REFUNDED:
        return _CreditMovement(True, attempt.sent_at, _after(ended_at, _BOOKING_SECONDS))
    # Given up or lost from sight: whether and when Kie gave anything back, we do not learn.
    begun_at = ended_at if attempt.outcome == "accepted" else attempt.sent_at
    latest = _after(begun_at, delays.task_seconds + _BOOKING_SECONDS)
    return _CreditMovement(False, attempt.sent_at, latest)


def _after(moment: datetime, seconds: float) -> datetime:
    return moment + timedelta(seconds=seconds)


def _baseline_from_row(state: Mapping[str, Any]) -> Baseline | None:
    if state["from_id"] is None:
        return None
    past = Reading(state["from_asked_at"], state["from_at"], state["from_balance"])
    return Baseline(past, state["newest_balance"], state["from_unexplained"])


class BalanceCheck:
    """Checks the balance of one Kie account; of any number of workers, one writes the row."""

    def __init__(
        self,
        deps: Dependencies,
        account: KieAccount,
        *,
        gap_seconds: float = _MIN_SECONDS_BETWEEN_CHECKS,
    ) -> None:
        self._deps = deps
        self._account = account
        self._queries: Queries = deps.queries
        self._gap_seconds = gap_seconds
        settings = deps.settings
        self._alert_credits = Decimal(str(settings.kie_drift_alert_credits))
        self._delays = KieDelays(
            settings.kie_request_timeout_seconds + _BOOKING_SECONDS, settings.job_deadline_seconds
        )

    async def check(self) -> BalanceCheckResult | None:
        """Check once. None: too early, another worker was first, or Kie does not say.

        Raises `PostgresDown`.
        """
        name = self._account.name
        row = await self._queries.fetch_row("balance_footing", _LOOK_BACK_SECONDS, name)
        state = dict(row or {})
        if state["age_seconds"] is not None and state["age_seconds"] < self._gap_seconds:
            return None
        balance = await self._account.kie.credit()
        if balance is None:
            incidents.record_failure(
                "provider_balance_unread",
                name,
                "Kie did not tell the balance; the next check makes up for it",
                calm_seconds=_CHECKS_QUIET_SECONDS,
                account=name,
            )
            return None
        incidents.record_success("provider_balance_unread", name)
        needs = dict(await self._queries.fetch_row("balance_needed") or {})
        reading = Reading(state["asked_at"], needs["at"], balance)
        baseline = _baseline_from_row(state)
        expected = await self._expect(baseline, reading)
        found = classify_balance(reading, baseline, expected, self._alert_credits)
        written = await self._queries.fetch_row(
            "record_balance_check",
            *(state["newest_id"], reading.asked_at, reading.at, balance, state["from_id"]),
            state["from_balance"],
            *((expected.low, expected.high) if baseline else (None, None)),
            *(found.drift, found.unexplained, expected.settled, found.verdict, name),
        )
        if written is None:
            return None
        self._report(found, reading, baseline, expected)
        # Any account may get any job that waits: this is the share of each.
        needed = needs["needed"] / len(self._deps.accounts)
        _report_low_balance(name, balance, needed)
        return found

    async def _expect(self, baseline: Baseline | None, reading: Reading) -> ExpectedSpend:
        since = baseline.reading if baseline else None
        rows = await self._queries.fetch(
            "attempts_that_may_cost",
            (since or reading).asked_at,
            self._delays.task_seconds + self._delays.post_seconds,
            self._account.name,
        )
        # Ten thousand tasks in flight take a fifth of a second, which polls should not wait for.
        return await asyncio.to_thread(
            lambda: calculate_expected_spend(
                [PaidAttempt(**dict(row)) for row in rows], since, reading, self._delays
            )
        )

    def _report(
        self,
        found: BalanceCheckResult,
        reading: Reading,
        baseline: Baseline | None,
        expected: ExpectedSpend,
    ) -> None:
        name = self._account.name
        self._deps.metrics.accounts.set_balance(name, reading.balance, found.unexplained)
        if baseline is None:
            return
        figures = {
            "account": name,
            "balance": str(reading.balance),
            "previous_balance": str(baseline.reading.balance),
            "since": baseline.reading.at.isoformat(),
            "expected_spend": f"{expected.low} to {expected.high}",
            "drift": str(found.drift),
            "unexplained": str(found.unexplained),
        }
        if found.verdict == "drift":
            log.critical("provider_balance_drift", **figures)
        elif found.verdict == "topped_up":
            log.info("provider_balance_topped_up", **figures)


def _report_low_balance(account: str, balance: Decimal, needed: Decimal) -> None:
    if balance >= needed:
        incidents.record_success("provider_balance_low", account)
        return
    need = f"{round(needed, 2).normalize():f}"
    error = f"the balance is {balance}, and the open jobs need {need}"
    facts: dict[str, Any] = {"account": account, "balance": str(balance), "open_jobs_need": need}
    incidents.record_failure("provider_balance_low", account, error, calm_seconds=0, **facts)
