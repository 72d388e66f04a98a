"""Logs repeated failures as incidents: one line when an incident begins, and one when it ends.

A retry loop records every failure and every success. The first failure of a subject is logged
immediately, and each new error text once. Further failures are counted, and logged at most once a
minute. An incident ends after a success followed by `calm_seconds` without a failure. Alternating
failures and successes therefore stay one incident.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from shared.errors import DarkroomError, PostgresDown, RedisDown
from shared.job_json import timestamp_to_json

log = structlog.get_logger(__name__)

REMINDER_SECONDS = 60.0
"""How often a continuing incident is logged again."""
CALM_SECONDS = 8.0
"""The time without a failure after which an incident ends. Longer than the pauses of most retry
loops, and short enough that the end is logged within 15 s."""
EXPIRY_SECONDS = 600.0
"""After this time without a failure, the next failure begins a new incident."""
DISTINCT_ERRORS_MAX = 5
"""The number of different error texts of one incident that are logged."""

DEPENDENCY_DOWN = "dependency_down"
POSTGRES = "postgres"
REDIS = "redis"
FIXES = {
    POSTGRES: "fix what Postgres reports; if it does not answer, start it or correct DATABASE_URL",
    REDIS: "fix what Redis reports; if it does not answer, start it or correct REDIS_URL",
}
"""What an operator can do, by dependency."""

_NUMBERS = re.compile(r"0x[0-9a-f]+|[0-9]+")


@dataclass(slots=True)
class _Incident:
    """The state of one incident."""

    level: str
    since: datetime
    calm_seconds: float
    began_at: float
    logged_at: float
    failed_at: float
    succeeded_at: float = float("-inf")
    times: int = 0
    doing: Counter[str] = field(default_factory=Counter)
    errors: set[str] = field(default_factory=set)
    closing: asyncio.TimerHandle | None = None


class IncidentLog:
    """The incidents of one process, by event name and subject."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        calm_seconds: float = CALM_SECONDS,
        reminder_seconds: float = REMINDER_SECONDS,
    ) -> None:
        self._monotonic = monotonic
        self._now = now
        self._calm_seconds = calm_seconds
        self._reminder_seconds = reminder_seconds
        self._incidents: dict[tuple[str, str], _Incident] = {}

    def record_failure(
        self,
        event: str,
        subject: str,
        error: BaseException | str,
        *,
        doing: str | None = None,
        level: str = "warning",
        calm_seconds: float | None = None,
        since: datetime | None = None,
        **facts: Any,
    ) -> None:
        """Record one failure. `facts` are added to the lines that this failure causes.

        `calm_seconds` overrides the default for work with rare retries. `since` is the start of an
        incident that began before its first record.
        """
        now, key = self._monotonic(), (event, subject)
        incident = self._incidents.get(key)
        is_new = incident is None or now - incident.failed_at > EXPIRY_SECONDS
        if incident is None or is_new:
            calm = self._calm_seconds if calm_seconds is None else calm_seconds
            incident = _Incident(level, since or self._now(), calm, now, now, now)
            self._incidents[key] = incident
        incident.failed_at = now
        incident.times += 1
        if doing is not None:
            incident.doing[doing] += 1
            facts["doing"] = doing
        text = str(error) or type(error).__name__
        kind = _NUMBERS.sub("#", text)
        is_new_error = kind not in incident.errors and len(incident.errors) < DISTINCT_ERRORS_MAX
        if is_new_error:
            incident.errors.add(kind)
        if is_new or is_new_error:
            change = "began" if is_new else "changed"
            self._log_change(key, incident, change, error=text, **facts)
        elif now - incident.logged_at >= self._reminder_seconds:
            self._log_change(key, incident, "still", error=text, **facts, **_totals(incident, now))

    def record_success(self, event: str, subject: str) -> None:
        """Record a success. The incident ends if no failure follows within `calm_seconds`."""
        if not self._incidents:
            return
        incident = self._incidents.get((event, subject))
        if incident is None:
            return
        incident.succeeded_at = self._monotonic()
        self._close_when_quiet(event, subject, incident)

    def record_outage(self, error: DarkroomError, *, doing: str, **facts: Any) -> None:
        """Record that a dependency was unavailable, and what the caller was doing."""
        subject = dependency_of(error)
        advice = FIXES.get(subject)
        if advice is not None:
            facts["fix"] = advice
        self.record_failure(DEPENDENCY_DOWN, subject, error, doing=doing, **facts)

    def record_recovery(self, *dependencies: str) -> None:
        """Record that these dependencies are available."""
        if self._incidents:
            for dependency in dependencies:
                self.record_success(DEPENDENCY_DOWN, dependency)

    def since(self, event: str, subject: str) -> datetime | None:
        """Return when the incident of this subject began, or None."""
        incident = self._incidents.get((event, subject))
        return incident.since if incident is not None else None

    def clear(self) -> None:
        """Remove all incidents without logging."""
        for incident in self._incidents.values():
            if incident.closing is not None:
                incident.closing.cancel()
        self._incidents.clear()

    def _close_when_quiet(self, event: str, subject: str, incident: _Incident) -> None:
        if incident.succeeded_at < incident.failed_at:
            return
        now = self._monotonic()
        left_seconds = incident.failed_at + incident.calm_seconds - now
        if left_seconds <= 0:
            if incident.closing is not None:
                incident.closing.cancel()
            del self._incidents[event, subject]
            self._log_change((event, subject), incident, "over", **_totals(incident, now))
        elif incident.closing is None:
            # The next success may come much later, but the end must be logged soon.
            incident.closing = asyncio.get_running_loop().call_later(
                left_seconds + 0.01, self._recheck, event, subject, incident
            )

    def _recheck(self, event: str, subject: str, incident: _Incident) -> None:
        incident.closing = None
        if self._incidents.get((event, subject)) is incident:
            self._close_when_quiet(event, subject, incident)

    def _log_change(
        self, key: tuple[str, str], incident: _Incident, change: str, **facts: Any
    ) -> None:
        incident.logged_at = self._monotonic()
        say = log.info if change == "over" else getattr(log, incident.level)
        since = timestamp_to_json(incident.since)
        say(key[0], subject=key[1], change=change, since=since, **facts)


def dependency_of(error: DarkroomError) -> str:
    """Return the name of the unavailable server, or the code of another error."""
    match error:
        case PostgresDown():
            return POSTGRES
        case RedisDown():
            return REDIS
    return error.code


def _totals(incident: _Incident, now: float) -> dict[str, Any]:
    sums: dict[str, Any] = {
        "seconds": round(now - incident.began_at, 1),
        "times": incident.times,
    }
    if incident.doing:
        sums["by"] = dict(incident.doing.most_common())
    return sums


incidents = IncidentLog()
"""The incidents of this process."""
