"""The HTTP API while a server is down: immediate errors, nothing lost, recovery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from tests.acceptance.test_http_jobs import order
from tests.support.api_client import ApiClient
from tests.support.console_client import browsing
from tests.support.deployment import Deployment, eventually
from tests.support.tcp_relay import TcpRelay, relay_to


@asynccontextmanager
async def api_behind_relays(
    deployment: Deployment,
) -> AsyncIterator[tuple[ApiClient, TcpRelay, TcpRelay]]:
    """Run the API behind a relay to Postgres and one to Valkey; yields it with both."""
    assert deployment.settings.database_url is not None
    assert deployment.settings.redis_url is not None
    database = urlsplit(deployment.settings.database_url.get_secret_value())
    directory = unquote(database.netloc.partition("@")[2].partition(":")[0])
    valkey = urlsplit(deployment.settings.redis_url.get_secret_value()).path
    async with (
        relay_to(f"{directory}/.s.PGSQL.5432") as to_postgres,
        relay_to(valkey) as to_valkey,
        deployment.api(
            database_url=SecretStr(
                f"postgresql://{database.username}@127.0.0.1:{to_postgres.port}{database.path}"
            ),
            redis_url=SecretStr(f"redis://127.0.0.1:{to_valkey.port}"),
        ) as api,
    ):
        yield api, to_postgres, to_valkey


async def test_without_postgres_every_route_says_so_and_when_to_come_back(
    deployment: Deployment,
) -> None:
    async with api_behind_relays(deployment) as (api, to_postgres, _):
        (await api.post("/v1/jobs", order(), Idempotency_Key="k")).expect(202)
        await to_postgres.cut()
        for answer in (
            await api.post("/v1/jobs", order()),
            await api.get("/v1/jobs"),
            await api.get("/v1/prices"),
            await api.get("/v1/accounts/acme"),
        ):
            assert answer.expect(503)["type"] == "urn:darkroom:problem:postgres_down"
            assert answer.headers["Retry-After"] == "2"
        assert (await api.get("/healthz")).status == 200
        assert (await api.get("/readyz")).status == 503
        async with browsing(api) as browser:
            page = (await browser.get("/console")).expect(503)
        assert "Postgres does not serve this page now." in page
        await to_postgres.restore()

        async def is_back() -> bool:
            return (await api.post("/v1/jobs", order(), Idempotency_Key="k")).status == 202

        await eventually(is_back, "the API serves again")
    assert len(await deployment.run_sql("SELECT id FROM jobs")) == 1


async def test_without_redis_jobs_are_taken_and_done_when_it_is_back(
    deployment: Deployment,
) -> None:
    async with api_behind_relays(deployment) as (api, _, to_valkey):
        await to_valkey.cut()
        job = (await api.post("/v1/jobs", order())).expect(202)
        assert (await api.get(f"/v1/jobs/{job['id']}", wait=0.2)).expect(200)["state"] == "queued"
        await to_valkey.restore()
        async with deployment.worker():
            ended = (await api.get(f"/v1/jobs/{job['id']}", wait=30)).expect(200)
    assert ended["state"] == "succeeded"
