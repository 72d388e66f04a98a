"""Compares Kie's credit balance with what our attempts explain, and stores each comparison."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import structlog

from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.postgres.database import Queries
from worker.dependencies import Dependencies
from worker.kie.account_pool import KieAccount
from worker.kie.expected_spend import (
    BOOKING_SECONDS,
    BalanceCheckResult,
    Baseline,
    ExpectedSpend,
    KieDelays,
    PaidAttempt,
    Reading,
    calculate_expected_spend,
    classify_balance,
)

log = structlog.get_logger(__name__)

BALANCE_CHECK_SECONDS = 60.0
_MIN_SECONDS_BETWEEN_CHECKS = 45.0
_CHECKS_QUIET_SECONDS = 330.0
"""Longer than the longest time between two checks."""
_LOOK_BACK_SECONDS = 3600.0


def _baseline_from_row(state: Mapping[str, Any]) -> Baseline | None:
    if state["from_id"] is None:
        return None
    past = Reading(state["from_asked_at"], state["from_at"], state["from_balance"])
    return Baseline(past, state["newest_balance"], state["from_unexplained"])


class BalanceCheck:
    """Checks the balance of one Kie account. Of any number of workers, one stores each check."""

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
            settings.kie_request_timeout_seconds + BOOKING_SECONDS, settings.job_deadline_seconds
        )

    async def check(self) -> BalanceCheckResult | None:
        """Check once. Returns None where it is too early, another worker was first, or Kie gives no
        balance.

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
                "Kie did not return the balance; the next check makes up for it",
                calm_seconds=_CHECKS_QUIET_SECONDS,
                account=name,
            )
            return None
        incidents.record_success("provider_balance_unread", name)
        required = dict(await self._queries.fetch_row("balance_needed") or {})
        reading = Reading(state["asked_at"], required["at"], balance)
        baseline = _baseline_from_row(state)
        expected = await self._expect(baseline, reading)
        found = classify_balance(reading, baseline, expected, self._alert_credits)
        written = await self._queries.fetch_row(
            "record_balance_check",
            *(state["newest_id"], reading.asked_at, reading.at, balance, state["from_id"]),
            state["from_balance"],
            *((expected.low, expected.high) if baseline else (None, None)),
            *(found.drift, found.unexplained, expected.settled, found.status, name),
        )
        if written is None:
            return None
        self._report(found, reading, baseline, expected)
        # Any account may get any job that waits, so each needs an equal part.
        needed = required["needed"] / len(self._deps.accounts)
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
        # Ten thousand tasks in flight take a fifth of a second, for which polls must not wait.
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
        if found.status == "drift":
            log.critical("provider_balance_drift", **figures)
        elif found.status == "topped_up":
            log.info("provider_balance_topped_up", **figures)


def _report_low_balance(account: str, balance: Decimal, needed: Decimal) -> None:
    if balance >= needed:
        incidents.record_success("provider_balance_low", account)
        return
    need = f"{round(needed, 2).normalize():f}"
    error = f"the balance is {balance}, and the open jobs need {need}"
    facts: dict[str, Any] = {"account": account, "balance": str(balance), "open_jobs_need": need}
    incidents.record_failure("provider_balance_low", account, error, calm_seconds=0, **facts)
