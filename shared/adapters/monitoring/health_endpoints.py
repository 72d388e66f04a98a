"""Serves `/healthz`, `/readyz`, `/startupz` and `/metrics` over HTTP, on the API and on workers."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import SecretStr

from shared.adapters.http.slow_readers import PacedResponse
from shared.adapters.monitoring.alert_monitor import AlertMonitor, alert_to_json
from shared.adapters.monitoring.gauges import (
    AlertGauges,
    DependencyGauges,
    QueueGauges,
    SubmitRateGauges,
    refresh_all,
)
from shared.adapters.monitoring.incident_log import (
    DEPENDENCY_DOWN,
    FIXES,
    POSTGRES,
    REDIS,
    incidents,
)
from shared.adapters.postgres.database import Database, Queries
from shared.adapters.processes.process_registry import ProcessRegistry
from shared.adapters.processes.service_phase import PROBE_PATHS, ServicePhase
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.domain.alerts.alert import Alert
from shared.errors import DarkroomError
from shared.settings import Settings

CHECK_TIMEOUT_SECONDS = 3.0
SHARED_REDIS = "shared_redis"

Check = Callable[[], Awaitable[None]]
Refresh = Callable[[], Awaitable[None]]
Alerts = Callable[[], Awaitable[Sequence[Alert]]]
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class HealthEndpoints:
    """The health endpoints of a process."""

    checks: Mapping[str, Check]
    """Readiness checks by name. Each raises a `DarkroomError` if its dependency is unavailable."""
    registry: CollectorRegistry
    refresh: Refresh
    """Called before each scrape, to update gauges."""
    phase: ServicePhase
    degrading: frozenset[str] = frozenset()
    """The checks without which the process still serves: it is ready, and says `degraded`."""
    timeout_seconds: float = CHECK_TIMEOUT_SECONDS
    """The timeout of each check and of the refresh."""
    alerts: Alerts | None = None
    """Returns the current alerts. Raises a `DarkroomError` if they are unknown."""
    metrics_key: SecretStr | None = None
    """The key that `/metrics` requires as `Authorization: Bearer`. None means no key."""
    _failing_since: dict[str, datetime] = field(default_factory=dict)
    _running: dict[str, asyncio.Task[Any]] = field(default_factory=dict)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of all endpoints."""
        return [*self.probe_routes(), web.get("/metrics", self._metrics)]

    def probe_routes(self) -> list[web.RouteDef]:
        """Return the routes of `PROBE_PATHS`."""
        handlers = (self._healthz, self._readyz, self._startupz)
        return [web.get(path, one) for path, one in zip(PROBE_PATHS, handlers, strict=True)]

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _startupz(self, _: web.Request) -> web.Response:
        is_started = self.phase.is_started
        body = {"status": "started" if is_started else "starting"}
        return web.json_response(body, status=200 if is_started else 503)

    async def _readyz(self, _: web.Request) -> web.Response:
        body, status = await self._run_once("readyz", self._check_readiness)
        return web.json_response(body, status=status)

    async def _run_once(self, name: str, work: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """Run the work, and return its result. Concurrent calls share one run.

        The endpoints need no key, so many requests must not cause many queries.
        """
        running = self._running.get(name)
        if running is None:
            running = asyncio.create_task(work())
            self._running[name] = running
            running.add_done_callback(lambda _: self._running.pop(name))
        answer: Answer = await asyncio.shield(running)
        return answer

    async def _check_readiness(self) -> tuple[dict[str, Any], int]:
        names = list(self.checks)
        answers, alerts = await asyncio.gather(
            asyncio.gather(*(self._run_check(self.checks[name]) for name in names)),
            self._read_alerts(),
        )
        body = dict(zip(names, answers, strict=True))
        status = self._status({name for name, answer in body.items() if answer != "ok"})
        down = self._down_alerts(body)
        told = {
            "status": status,
            "checks": body,
            # Null means unknown.
            "alerts": None if alerts is None and not down else [*down, *(alerts or ())],
        }
        return told, 200 if status in {"ready", "degraded"} else 503

    def _status(self, failing: set[str]) -> str:
        if self.phase.is_stopping:
            return "stopping"
        if not self.phase.is_started:
            return "starting"
        if failing - self.degrading:
            return "not ready"
        return "degraded" if failing else "ready"

    def _down_alerts(self, checks: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return an alert for each failing check, with the time of its first failure."""
        for name, answer in checks.items():
            if answer == "ok":
                self._failing_since.pop(name, None)
            else:
                known = incidents.since(DEPENDENCY_DOWN, name)
                self._failing_since.setdefault(name, known or datetime.now(UTC))
        return [
            alert_to_json(
                Alert(
                    f"{name}_down",
                    checks[name],
                    FIXES.get(name, "see the sentence"),
                    since=since,
                )
            )
            for name, since in self._failing_since.items()
        ]

    async def _read_alerts(self) -> list[dict[str, Any]] | None:
        if self.alerts is None:
            return []
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return [alert_to_json(alert) for alert in await self.alerts()]
        except (DarkroomError, TimeoutError):
            return None

    async def _metrics(self, request: web.Request) -> web.Response:
        if self.metrics_key is not None and not _has_key(request, self.metrics_key):
            return _refuse_without_key()
        body = await self._run_once("metrics", self._scrape)
        return PacedResponse(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _scrape(self) -> bytes:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self.refresh()
        except (DarkroomError, TimeoutError):
            # Without Postgres the counters of this process are still exported.
            pass
        return generate_latest(self.registry)

    async def _run_check(self, check: Check) -> str:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await check()
        except DarkroomError as error:
            return str(error)
        except TimeoutError:
            return f"no answer within {self.timeout_seconds:g} s"
        return "ok"


def _has_key(request: web.Request, key: SecretStr) -> bool:
    """Return whether the request has exactly one Authorization header, with this key."""
    given = request.headers.getall("Authorization", [])
    if len(given) != 1:
        return False
    scheme, _, shown = given[0].partition(" ")
    wanted = key.get_secret_value().encode()
    return scheme.lower() == "bearer" and hmac.compare_digest(
        shown.strip().encode(errors="replace"), wanted
    )


def _refuse_without_key() -> web.Response:
    problem = {
        "type": "urn:darkroom:problem:key_refused",
        "title": "The API key is missing or not accepted",
        "status": 401,
        "detail": "/metrics asks for the value of METRICS_KEY in `Authorization: Bearer ...`",
    }
    headers = {"WWW-Authenticate": 'Bearer realm="darkroom-metrics"'}
    return web.json_response(
        problem, status=401, headers=headers, content_type="application/problem+json"
    )


def make_start_probes(phase: ServicePhase) -> HealthEndpoints:
    """Return the health endpoints of a process that has not opened its connections yet."""

    async def refresh() -> None:
        return

    return HealthEndpoints({}, CollectorRegistry(), refresh, phase)


def make_readiness_checks(
    database: Database, delivery_queue: DeliveryQueue, processes: ProcessRegistry
) -> Mapping[str, Check]:
    """Return the readiness checks of both servers, and whether Redis is shared.

    The check of Redis writes a key. The check of Postgres uses the result of this process's
    heartbeat, so that frequent checks cause no writes.
    """

    async def check_postgres() -> None:
        await database.ping()
        if processes.last_error is not None:
            raise processes.last_error

    return {
        POSTGRES: check_postgres,
        REDIS: delivery_queue.ping,
        SHARED_REDIS: processes.shared_redis.check,
    }


def make_health_endpoints(
    checks: Mapping[str, Check],
    registry: CollectorRegistry,
    queries: Queries,
    monitor: AlertMonitor,
    settings: Settings,
    phase: ServicePhase,
    *,
    degrading: Iterable[str] = (),
) -> HealthEndpoints:
    """Return the health endpoints of a process, with gauges and alerts."""

    async def alerts() -> Sequence[Alert]:
        return (await monitor.read()).alerts

    return HealthEndpoints(
        checks=checks,
        registry=registry,
        refresh=refresh_all(
            DependencyGauges(registry, checks).refresh,
            QueueGauges(registry, queries).refresh,
            AlertGauges(registry, monitor).refresh,
            SubmitRateGauges(registry, monitor, settings.kie_submits_per_10_seconds).refresh,
        ),
        phase=phase,
        degrading=frozenset(degrading),
        alerts=alerts,
        metrics_key=settings.metrics_key,
    )
