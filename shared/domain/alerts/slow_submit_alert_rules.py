"""Finds alerts about Kie accounts by which submits have been slow for minutes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from shared.domain.alerts.alert import Alert
from shared.domain.alerts.pause_alert_rules import UNREACHABLE_FIX
from shared.domain.alerts.system_state import RedisState, SubmitRate, SystemState, count_jobs
from shared.domain.lifecycle import Reason

SLOWED_SECONDS = 300.0
"""How long a rate below half of the limit may last. It recovers within a minute of the last
refusal."""
_FIXES: dict[str, str] = {
    Reason.RATE_LIMITED: "lower KIE_SUBMITS_PER_10_SECONDS to what Kie accepts, or find who else"
    " uses the key",
    Reason.UNREACHABLE: UNREACHABLE_FIX,
    Reason.SERVER_ERROR: "see Kie's log page: each refused submit may have been paid for",
}
_OTHER_FIX = "nothing: it recovers by itself; if it lasts, ask Kie"


def find_slow_submit_alerts(redis: RedisState, state: SystemState) -> Iterator[Alert]:
    """Yield an alert for each account that is slow for long, and not paused."""
    paused = {account for account, _ in redis.pauses}
    for account, rate in redis.rates:
        if account not in paused and _is_slow_for_long(rate, state):
            yield _slow_alert(account, rate, state)


def _is_slow_for_long(rate: SubmitRate, state: SystemState) -> bool:
    is_long = state.at - rate.since > timedelta(seconds=SLOWED_SECONDS)
    return is_long and rate.is_slowed(state.at) and rate.rate_after_refusal < rate.limit / 2


def _slow_alert(account: str, rate: SubmitRate, state: SystemState) -> Alert:
    seconds = (state.at - rate.since).total_seconds()
    return Alert(
        "submits_slowed",
        f"submits by the Kie account {account} are slowed down to {rate.in_force(state.at)} of"
        f" {rate.limit} per 10 s, and have been below the limit for {seconds:.0f} s"
        f" ({rate.reason}: {rate.message}); {count_jobs(state.queued, 'waits', 'wait')}",
        _FIXES.get(rate.reason, _OTHER_FIX),
        since=rate.since,
        subject=account,
    )
