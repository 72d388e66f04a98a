"""The Prometheus metrics of the worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.adapters.monitoring.incident_log import DEPENDENCY_DOWN, REDIS, incidents
from shared.adapters.monitoring.push_channels import PushChannel, export_push_channels
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from worker.kie.surprises import KINDS as SURPRISE_KINDS
from worker.store.busy_rows import ROW_KINDS, BusyRows
from worker.store.settled_job import SettledJob

_LATENESS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 1, 2.5, 5, 10, 20, 60)
_DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)


class Metrics:
    """The counters and histograms of the worker. Gauges of the queue are read from Postgres at each
    scrape.
    """

    def __init__(
        self, registry: CollectorRegistry, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(name, help_text, labels, registry=registry)

        def seconds(name: str, help_text: str, *labels: str) -> Histogram:
            return Histogram(name, help_text, labels, registry=registry, buckets=_DURATION_BUCKETS)

        self.jobs_ended = counter(
            "darkroom_jobs_total", "Jobs that ended here", "state", "reason", "model"
        )
        self.wait = seconds("darkroom_job_wait_seconds", "From run_at to the task id")
        self.run = seconds("darkroom_job_run_seconds", "From the task id to the end")
        self.settle_lag = seconds(
            "darkroom_finish_to_settled_seconds", "From Kie's completeTime to the charge"
        )
        self.polls = 0
        """How many polls this worker has sent. Its heartbeat stores the number."""
        self.poll_lateness = _poll_lateness(registry)
        self.lag_factor = _lag_factor(registry)
        self.requests = seconds(
            "darkroom_kie_request_seconds",
            "Requests to Kie by account, endpoint and code",
            "account",
            "endpoint",
            "code",
        )
        self.throttled = counter(
            "darkroom_throttle_waits_total", "Requests put off by a limit", "limit"
        )
        self.credits_charged = counter("darkroom_credits_charged_total", "Credits captured")
        self.unknown = counter(
            "darkroom_unknown_submissions_total", "Submits whose outcome is unknown", "reason"
        )
        self.held_for_review = _held_for_review(registry)
        self.late_deliveries, self.late_provider_credits = _late_deliveries(registry)
        self.surprises = _surprises(registry)
        self.image_copies, self.redelivered = ImageCopyMetrics(registry), _redelivered(registry)
        self.chosen = _chosen(registry)
        self.webhooks = counter(
            "darkroom_webhooks_total", "Tries to send a webhook, by what became of each", "outcome"
        )
        self.webhook_seconds = seconds(
            "darkroom_webhook_seconds", "Tries to send a webhook, until the answer", "outcome"
        )
        self.accounts = KieAccountMetrics(registry, monotonic)
        self.dispatch_pushes, self.wake_pushes = _push_paths(registry, monotonic)
        self._histogram_by_labels: dict[tuple[str, str, str], Histogram] = {}

    def count_kie_response(self, account: str, endpoint: str, code: str, seconds: float) -> None:
        """Count one response of Kie to one of our accounts, or its absence."""
        key = (account, endpoint, code)
        histogram = self._histogram_by_labels.get(key)
        if histogram is None:
            histogram = self._histogram_by_labels[key] = self.requests.labels(*key)
        histogram.observe(seconds)

    def count_surprise(self, kind: str) -> None:
        """Count one part of a response of Kie that no reader knows."""
        self.surprises.labels(kind).inc()

    def count_late_delivery(self, provider_credits: Decimal) -> None:
        """Count images that came after the end of their job, and what they cost us."""
        self.late_deliveries.inc()
        self.late_provider_credits.inc(float(provider_credits))

    def count_webhook(self, outcome: str, seconds: float) -> None:
        """Count one try to send a webhook: `delivered`, `failed` (tried again later) or `dead`."""
        self.webhooks.labels(outcome).inc()
        self.webhook_seconds.labels(outcome).observe(seconds)

    def count_poll(self, lateness_seconds: float | None) -> None:
        """Count a poll that is sent now. `lateness_seconds` is None where it is not known when it
        was due.
        """
        self.polls += 1
        if lateness_seconds is not None:
            self.poll_lateness.observe(lateness_seconds)

    def counts(self) -> dict[str, int]:
        """Return the counts that the heartbeat of this worker stores."""
        return {"polls": self.polls}

    def count_submitted(self, job: Job) -> None:
        """Record how long a job waited for its task id."""
        if job.submitted_at is not None:
            # `run_at` may be in the past. Such a job waits from the time it was accepted.
            began_at = max(job.run_at, job.created_at)
            self.wait.observe(max((job.submitted_at - began_at).total_seconds(), 0))

    def count_job_end(self, job: Job | SettledJob, lag_seconds: float | None = None) -> None:
        """Count the end of a job."""
        self.jobs_ended.labels(job.state.value, job.reason or "", job.model).inc()
        if job.finished_at is not None and job.submitted_at is not None:
            self.run.observe(max((job.finished_at - job.submitted_at).total_seconds(), 0))
        if job.state is JobState.SUCCEEDED and job.credits_charged is not None:
            self.credits_charged.inc(float(job.credits_charged))
            if lag_seconds is not None:
                self.settle_lag.observe(max(lag_seconds, 0))


def _chosen(registry: CollectorRegistry) -> Counter:
    return Counter("darkroom_chosen_total", "Waiting jobs chosen in fair order", registry=registry)


def _redelivered(registry: CollectorRegistry) -> Counter:
    return Counter(
        "darkroom_redelivered_total", "Deliveries made again by the reconciler", registry=registry
    )


def _held_for_review(registry: CollectorRegistry) -> Counter:
    return Counter(
        "darkroom_held_for_review_total",
        "Jobs held because Kie's success could not be read",
        ["reason"],
        registry=registry,
    )


def _surprises(registry: CollectorRegistry) -> Counter:
    counter = Counter(
        "darkroom_kie_surprises_total",
        "Parts of Kie's responses that no reader knows, by what they are",
        ["kind"],
        registry=registry,
    )
    for kind in SURPRISE_KINDS:
        counter.labels(kind)
    return counter


def _push_paths(
    registry: CollectorRegistry, monotonic: Callable[[], float]
) -> tuple[PushChannel, PushChannel]:
    """Return the push channels of Postgres's notifications and of Redis's wake-ups."""
    dispatch = PushChannel("dispatch", "the reconciler runs every 5 s", monotonic)
    wake = PushChannel("wake", "each lane claims twice a second", monotonic)
    export_push_channels(registry, (dispatch, wake))
    return dispatch, wake


def _lag_factor(registry: CollectorRegistry) -> Gauge:
    return Gauge(
        "darkroom_poll_patience",
        "Factor by which an overloaded worker raises the lag that one poll may save",
        registry=registry,
    )


def _late_deliveries(registry: CollectorRegistry) -> tuple[Counter, Counter]:
    return (
        Counter(
            "darkroom_late_deliveries_total",
            "Tasks that delivered after the end of their job",
            registry=registry,
        ),
        Counter(
            "darkroom_late_delivery_provider_credits_total",
            "What Kie charged for late deliveries",
            registry=registry,
        ),
    )


def _poll_lateness(registry: CollectorRegistry) -> Histogram:
    return Histogram(
        "darkroom_poll_lateness_seconds",
        "From the time a poll was due to the time it was sent",
        registry=registry,
        buckets=_LATENESS_BUCKETS,
    )


class ImageCopyMetrics:
    """Counters of the copies of images. Those that wait are read from Postgres at each scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._stored = Counter(
            "darkroom_images_stored_total", "Images copied into the store", registry=registry
        )
        self._bytes = Counter(
            "darkroom_image_bytes_stored_total", "Bytes of these images", registry=registry
        )
        self._failures = Counter(
            "darkroom_image_copy_failures_total",
            "Copies that failed, because of the download or of the store",
            ["cause"],
            registry=registry,
        )
        for cause in ("download", "store"):
            self._failures.labels(cause)

    def count_stored(self, image_bytes: int) -> None:
        """Count an image that is stored."""
        self._stored.inc()
        self._bytes.inc(image_bytes)

    def count_failure(self, cause: str) -> None:
        """Count a copy that failed: `download` or `store`."""
        self._failures.labels(cause).inc()


BALANCE_FRESH_SECONDS = 150.0
"""How long the result of a balance check is exported by the worker that made it."""


class KieAccountMetrics:
    """Gauges per Kie account, with the values that this worker knows."""

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
        """Export this check for a few minutes. Another worker may make the next one."""
        until = self._monotonic() + BALANCE_FRESH_SECONDS
        for gauge, value in ((self._balance, float(balance)), (self._drift, float(drift))):
            gauge.labels(account).set_function(partial(self._while_fresh, value, until))

    def _while_fresh(self, value: float, until: float) -> float:
        return value if self._monotonic() < until else nan

    def track_brake_level(self, account: str, level: Callable[[], int]) -> None:
        """Export the level of an account's brake as this worker last read it; NaN without Redis."""
        self._brake.labels(account).set_function(partial(_level_if_known, level))

    def set_key_missing(self, account: str) -> None:
        """Export that there are tasks of an account that has no key here."""
        self._missing.labels(account).set(1)


def _level_if_known(level: Callable[[], int]) -> float:
    # The level is stored in Redis. While Redis is down, the last value may be out of date.
    is_known = incidents.since(DEPENDENCY_DOWN, REDIS) is None
    return level() if is_known else nan


def busy_rows_with_metrics(registry: CollectorRegistry) -> BusyRows:
    """Return `BusyRows` with their metrics."""
    found = Counter(
        "darkroom_busy_rows_total",
        "Rows found to be held by another session",
        ["kind"],
        registry=registry,
    )
    now = Gauge(
        "darkroom_busy_rows_now",
        "Rows that another session holds now, as far as this worker knows",
        ["kind"],
        registry=registry,
    )
    busy = BusyRows(on_busy=lambda kind: found.labels(kind).inc())
    for kind in ROW_KINDS:
        found.labels(kind)
        now.labels(kind).set_function(partial(busy.count, kind))
    return busy
