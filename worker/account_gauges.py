"""What Prometheus is shown of each Kie account: balance, drift, brake, and a key that is missed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from math import nan

from prometheus_client import CollectorRegistry, Gauge

from shared.adapters.monitoring.incident_log import DEPENDENCY_DOWN, REDIS, incidents

BALANCE_FRESH_SECONDS = 150.0
"""How long a check of Kie's balance is shown by the worker that made it."""


class KieAccountMetrics:
    """Gauges by the name of the account, as this worker knows them."""

    def __init__(self, registry: CollectorRegistry, monotonic: Callable[[], float]) -> None:
        def gauge(name: str, help_text: str) -> Gauge:
            return Gauge(name, help_text, ["account"], registry=registry)

        self._monotonic = monotonic
        self._balance = gauge("darkroom_provider_balance_credits", "Credits left at Kie")
        self._drift = gauge(
            "darkroom_provider_balance_drift_credits",
            "Credits that Kie took and our attempts do not explain",
        )
        self._brake = gauge(
            "darkroom_submit_brake_level", "How hard submits are slowed down; 0 means not at all"
        )
        self._missing = gauge(
            "darkroom_kie_account_missing", "1 where tasks are of an account that has no key here"
        )

    def set_balance(self, account: str, balance: Decimal, drift: Decimal) -> None:
        """Show the check that was made here, for a few minutes: the next may be another's."""
        until = self._monotonic() + BALANCE_FRESH_SECONDS
        for gauge, value in ((self._balance, float(balance)), (self._drift, float(drift))):
            gauge.labels(account).set_function(partial(self._while_fresh, value, until))

    def _while_fresh(self, value: float, until: float) -> float:
        return value if self._monotonic() < until else nan

    def track_brake_level(self, account: str, level: Callable[[], int]) -> None:
        """Show the level of an account's brake, as this worker last saw it; NaN without Redis."""
        self._brake.labels(account).set_function(partial(_level_if_known, level))

    def set_key_missing(self, account: str) -> None:
        """Show that there are tasks of an account that has no key here."""
        self._missing.labels(account).set(1)


def _level_if_known(level: Callable[[], int]) -> float:
    # It is kept in Redis: without it, what was last seen may not be so any more.
    is_known = incidents.since(DEPENDENCY_DOWN, REDIS) is None
    return level() if is_known else nan
