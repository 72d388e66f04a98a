"""The configuration of one simulator."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from .durations import Durations
from .fault_switches import FaultSwitches


@dataclass(frozen=True, slots=True)
class SimulatorClocks:
    """Where time comes from.

    ``monotonic`` (seconds) ages tasks and counts arrivals, so a stepped wall clock cannot
    distort the record; ``epoch`` (seconds since 1970) only dates what is shown.
    """

    monotonic: Callable[[], float] = time.monotonic
    epoch: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Everything that is chosen before the simulator starts; the defaults behave like Kie.

    A ``seed`` repeats durations, latencies and faults, but never task ids: a provider hands
    out no id twice, and a database that outlives two runs would notice.
    """

    host: str = "127.0.0.1"
    port: int = 0
    # The address written into image URLs, when it differs from the one listened on.
    public_url: str = ""
    api_key: str = "sim-key"
    # Each is the key of one more account, which knows nothing of the others' tasks.
    further_api_keys: tuple[str, ...] = ()
    starting_credits: Decimal = Decimal(1_000_000)
    # 0 switches either limit off.
    creates_per_10_seconds: int = 20
    polls_per_second_per_task: int = 3
    # Kie documents more for the tasks of the Market.
    market_polls_per_second_per_task: int = 10
    create_latency_seconds: float = 0.4
    poll_latency_seconds: float = 0.2
    # JSON as gzip in chunks to a client that accepts it, as Kie sends it.
    compress_bodies: bool = True
    # Each latency is drawn uniformly within this share of itself, either way.
    latency_jitter: float = 0.25
    durations: Durations = field(default_factory=Durations)
    seed: int | None = None
    # Empty: callbacks are not signed.
    webhook_hmac_key: str = ""
    callback_timeout_seconds: float = 15.0
    callback_retries: int = 3
    callback_retry_seconds: float = 5.0
    # How many requests and callbacks the raw logs hold; the counters are exact without them.
    request_log_size: int = 10_000
    faults: FaultSwitches = field(default_factory=FaultSwitches)

    def __post_init__(self) -> None:
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port is {self.port}; it must be from 0 (any free one) to 65535")
        if self.latency_jitter > 1:
            raise ValueError(f"latency_jitter is {self.latency_jitter}; it must be from 0 to 1")
        if not all(self.api_keys):
            raise ValueError("api_key is empty; give the key that clients must present")
        if len(set(self.api_keys)) < len(self.api_keys):
            raise ValueError("api_key is given twice; each account has a key of its own")

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The keys of all accounts."""
        return (self.api_key, *self.further_api_keys)


_NOT_NEGATIVE = (
    "starting_credits",
    "creates_per_10_seconds",
    "polls_per_second_per_task",
    "market_polls_per_second_per_task",
    "create_latency_seconds",
    "poll_latency_seconds",
    "latency_jitter",
    "callback_timeout_seconds",
    "callback_retries",
    "callback_retry_seconds",
    "request_log_size",
)
