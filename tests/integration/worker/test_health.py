"""The health and metrics endpoints of a running worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from producer.keys.key_store import KeyStore
from shared.adapters.http.http_server import serve_http
from shared.adapters.monitoring.health_endpoints import HealthEndpoints
from shared.adapters.processes.service_phase import ServicePhase
from shared.adapters.redis.deliveries import Lane
from shared.errors import ConfigurationError, PostgresDown, RedisDown
from tests.integration.worker.bare_lanes import redis_behind_a_relay
from tests.support.deployment import Deployment, eventually, text_to_image
from tests.support.ports import free_port
from worker.bootstrap import open_worker

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@asynccontextmanager
async def asking(health: HealthEndpoints) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve this health on a free port and yield a client of it."""
    async with (
        serve_http("127.0.0.1", 0, health.routes()) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client


async def get(client: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    """Return status and JSON body."""
    async with client.get(path) as response:
        return response.status, await response.json()


async def scrape(client: aiohttp.ClientSession) -> Samples:
    """Return every sample of `/metrics`, read as Prometheus reads it."""
    async with client.get("/metrics") as response:
        assert response.status == 200
        text = await response.text()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """Return the sum of the samples of that name that carry these labels; fail without any."""
    wanted = set(labels.items())
    found = [value for (one, its), value in samples.items() if one == name and wanted <= set(its)]
    assert found, f"there is no {name} with {labels}"
    return sum(found)


def started_phase() -> ServicePhase:
    """Return the phase of a process that serves."""
    phase = ServicePhase()
    phase.finish_start()
    return phase


def scripted(**checks: Exception | None) -> HealthEndpoints:
    """Return a health endpoint whose checks raise the given errors, or none."""

    def check_of(error: Exception | None) -> Any:
        async def check() -> None:
            if error is not None:
                raise error

        return check

    async def refresh() -> None:
        for error in checks.values():
            if error is not None:
                raise error

    return HealthEndpoints(
        {name: check_of(error) for name, error in checks.items()},
        CollectorRegistry(),
        refresh,
        started_phase(),
    )


async def test_a_running_worker_is_alive_and_ready(deployment: Deployment) -> None:
    async with deployment.worker() as resources, asking(resources.health) as client:
        assert await get(client, "/healthz") == (200, {"status": "ok"})
        checks = {"postgres": "ok", "redis": "ok", "shared_redis": "ok"}
        body = {"status": "ready", "checks": checks, "alerts": []}
        assert await get(client, "/readyz") == (200, body)


@pytest.mark.parametrize(
    ("down", "name", "words"),
    [
        (PostgresDown("Postgres does not answer: drill"), "postgres", "Postgres does not answer"),
        (RedisDown("Redis does not answer: drill"), "redis", "Redis does not answer"),
    ],
)
async def test_readyz_is_503_and_names_what_is_down_while_healthz_stays_200(
    down: Exception, name: str, words: str
) -> None:
    checks = {"postgres": None, "redis": None, name: down}
    async with asking(scripted(**checks)) as client:
        status, body = await get(client, "/readyz")
        assert (status, body["status"]) == (503, "not ready")
        assert words in body["checks"].pop(name)
        assert set(body["checks"].values()) == {"ok"}
        assert (await get(client, "/healthz"))[0] == 200
        async with client.get("/metrics") as response:
            assert response.status == 200, "counters are still worth reading"


async def test_readyz_notices_that_redis_has_gone_and_come_back(
    deployment: Deployment, embedded_redis_url: str
) -> None:
    async with (
        redis_behind_a_relay(embedded_redis_url) as (outage, relayed),
        deployment.worker(redis_url=SecretStr(relayed)) as resources,
        asking(resources.health) as client,
    ):
        assert (await get(client, "/readyz"))[0] == 200
        await outage.cut()
        status, body = await get(client, "/readyz")
        assert status == 503
        assert "Redis does not answer" in body["checks"]["redis"]
        assert body["checks"]["postgres"] == "ok"
        await outage.restore()

        async def is_ready() -> bool:
            return (await get(client, "/readyz"))[0] == 200

        await eventually(is_ready, "the worker is ready again")


async def test_the_metrics_hold_every_figure_that_was_asked_for(deployment: Deployment) -> None:
    deployment.simulator.set_faults(duration=0.1)
    async with deployment.worker() as resources, asking(resources.health) as client:
        await deployment.ended(await deployment.enqueue())
        failing = text_to_image("[[sim: outcome=content_policy]]")
        await deployment.ended(await deployment.enqueue(failing))
        running = await deployment.enqueue(text_to_image("[[sim: duration=60]]", quantity=4))
        await deployment.enqueue(run_at=datetime.now(UTC) + timedelta(hours=1))
        await deployment.in_state(running, "generating")
        samples = await _scrape_until(client, "darkroom_in_flight", 1)
    assert total(samples, "darkroom_queue_depth") == 0
    assert total(samples, "darkroom_scheduled_jobs") == 1
    assert total(samples, "darkroom_queue_oldest_seconds") == 0
    assert total(samples, "darkroom_open_jobs", state="generating") == 1
    ended = "darkroom_jobs_total"
    assert total(samples, ended, state="succeeded", reason="") == 1
    assert total(samples, ended, state="failed", reason="content_policy") == 1
    assert total(samples, "darkroom_credits_held") == 8 + 6
    assert total(samples, "darkroom_credits_charged_total") == 6
    assert total(samples, "darkroom_job_wait_seconds_count") == 3
    assert total(samples, "darkroom_job_run_seconds_count") == 2
    assert total(samples, "darkroom_finish_to_settled_seconds_count") == 1
    requests = "darkroom_kie_request_seconds_count"
    assert total(samples, requests, endpoint="submit", code="200") == 3
    assert total(samples, requests, endpoint="poll", code="200") >= 2


_WAITED_90_SECONDS = (
    "UPDATE jobs SET run_at = now() - interval '1 day', created_at = now() - interval '90 s'"
    " WHERE id = $1"
)


async def test_the_oldest_waiting_job_shows_its_age(deployment: Deployment) -> None:
    job = await deployment.enqueue()
    await deployment.run_sql(_WAITED_90_SECONDS, job.id)
    async with open_worker(deployment.settings) as resources, asking(resources.health) as client:
        assert total(await scrape(client), "darkroom_queue_oldest_seconds") == pytest.approx(
            90, 0.1
        )


async def test_throttle_waits_are_counted_by_limit(deployment: Deployment) -> None:
    deployment.simulator.set_faults(never_ends=1.0)
    async with deployment.worker() as resources, asking(resources.health) as ask:
        job = await deployment.enqueue()
        await deployment.in_state(job, "generating")

        async def is_put_off() -> bool:
            await resources.deps.delivery_queue.make_due_now(job.id, Lane.POLL)
            waits = ("darkroom_throttle_waits_total", (("limit", "poll_job"),))
            return (await scrape(ask)).get(waits, 0) >= 1

        await eventually(is_put_off, "a poll is put off by its limit")


async def test_a_port_that_is_taken_is_reported_with_the_fix() -> None:
    async with serve_http("127.0.0.1", 0, []) as port:
        with pytest.raises(ConfigurationError, match=f"{port}.*WORKER_HTTP_PORT"):
            async with serve_http("127.0.0.1", port, []):
                pass


async def test_a_check_that_hangs_is_given_up() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    async def nothing() -> None:
        return

    health = HealthEndpoints(
        {"slow": hang}, CollectorRegistry(), nothing, started_phase(), timeout_seconds=0.2
    )
    async with asking(health) as client:
        status, body = await get(client, "/readyz")
    assert (status, body["checks"]["slow"]) == (503, "no answer within 0.2 s")


async def _scrape_until(client: aiohttp.ClientSession, name: str, value: float) -> Samples:
    """Scrape until a gauge has that value: gauges are read at most every two seconds."""
    samples: Samples = {}

    async def is_there() -> bool:
        samples.update(await scrape(client))
        return total(samples, name) == value

    await eventually(is_there, f"{name} is {value}")
    return samples


@pytest.mark.promise("If `METRICS_KEY` is set, `/metrics` requires it")
async def test_metrics_ask_for_their_key_on_the_api_and_on_a_worker(deployment: Deployment) -> None:
    """METRICS_KEY is not an API key: it is checked while Postgres is down."""
    key = SecretStr("a-key-of-prometheus")
    api_key = (await KeyStore(deployment.database).create("admin"))[1]
    port = free_port()
    async with (
        deployment.worker(metrics_key=key, worker_http_port=port),
        deployment.api(metrics_key=key) as api,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as of_worker,
    ):
        for client in (api.session, of_worker):
            for given in (
                None,
                "",
                "Bearer",
                "Bearer x",
                "Basic x",
                f"Bearer {api_key}",
                "Bearer \xff",
            ):
                headers = {} if given is None else {"Authorization": given}
                async with client.get("/metrics", headers=headers) as refused:
                    assert refused.status == 401, given
                    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
                    assert (await refused.json(content_type=None))["status"] == 401
                    assert "darkroom_" not in await refused.text()
            right = {"Authorization": f"bearer {key.get_secret_value()}"}
            async with client.get("/metrics", headers=right) as answer:
                assert answer.status == 200
                assert "darkroom_" in await answer.text()
            async with client.get("/healthz") as alive:
                assert alive.status == 200
