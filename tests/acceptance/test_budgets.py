"""Budgets per key: 429 with `Retry-After` above them, and no effect on other keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from producer.api.access.key_budgets import KeyBudgets
from producer.api.access.listen_addresses import build_runner
from producer.api.api_metrics import ApiMetrics
from producer.api.application import build_application
from producer.api.endpoint import ApiContext
from producer.api.routes import ENDPOINTS
from producer.keys.key_store import KeyStore
from producer.keys.revocation_watch import RevocationWatch
from producer.keys.roles import Role
from producer.keys.session_store import SessionStore
from producer.orders.order_batcher import OrderBatcher
from tests.acceptance.test_hostile_callers import leave_after
from tests.acceptance.test_hostile_input import check_refused, rows
from tests.acceptance.test_http_access import key_of
from tests.acceptance.test_http_jobs import order
from tests.acceptance.test_long_pages import ask_and_read_nothing
from tests.support.api_client import ApiClient, ApiResponse
from tests.support.deployment import Deployment, eventually


@asynccontextmanager
async def limited_api(deployment: Deployment, budgets: KeyBudgets) -> AsyncIterator[ApiClient]:
    """Run the API under these budgets."""
    producer = deployment.producer
    keys, watch = KeyStore(deployment.database), RevocationWatch(deployment.database)
    context = ApiContext(
        producer,
        keys,
        watch,
        OrderBatcher(producer.enqueuer),
        SessionStore(deployment.database),
        budgets,
    )
    app = build_application(context, ENDPOINTS, ApiMetrics(CollectorRegistry()), [])
    runner = build_runner(app, drain_seconds=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(url) as session:
            yield ApiClient(session)
    finally:
        context.stopping.set()
        await runner.cleanup()


def check_too_much(answer: ApiResponse) -> None:
    problem = check_refused(answer, 429)
    assert problem["type"] == "urn:darkroom:problem:too_much_at_once"
    assert int(answer.headers["Retry-After"]) > 0


async def has_no_requests(budgets: KeyBudgets) -> bool:
    return not budgets.in_use


@pytest.mark.promise("too_much_at_once", "requests of a key at once")
async def test_a_key_waits_so_often_at_once_and_no_more(deployment: Deployment) -> None:
    budgets = KeyBudgets(max_waits=2)
    mine, other = await key_of(deployment, Role.ADMIN), await key_of(deployment, Role.ADMIN)
    job = await deployment.enqueue()
    async with limited_api(deployment, budgets) as nobody:
        api = nobody.with_key(mine)
        waiting = asyncio.create_task(api.get(f"/v1/jobs/{job.id}", wait=60))
        path, authorization = f"/v1/jobs/{job.id}/events", {"Authorization": f"Bearer {mine}"}
        async with api.session.get(path, headers=authorization) as stream:
            await stream.content.readline()

            async def are_both_there() -> bool:
                return budgets.in_use.get(mine[:15], (0, 0, 0))[1] == 2

            await eventually(are_both_there, "a wait and a stream are under way")
            check_too_much(await api.get(f"/v1/jobs/{job.id}", wait=60))
            check_too_much(await api.get("/v1/accounts/acme/events"))
            # Requests that do not wait are served, and so is another key.
            (await api.get(f"/v1/jobs/{job.id}")).expect(200)
            (await nobody.with_key(other).get(f"/v1/jobs/{job.id}", wait=0.01)).expect(200)
            await deployment.producer.cancel(job.id)
            assert (await waiting).expect(200)["state"] == "cancelled"
            await stream.content.read()
        await eventually(lambda: has_no_requests(budgets), "all is given back")


async def test_a_key_has_so_many_requests_worked_on_at_once(deployment: Deployment) -> None:
    budgets = KeyBudgets(max_requests=1)
    async with limited_api(deployment, budgets) as api, deployment.database.pool.acquire() as held:
        before = await rows(deployment)
        transaction = held.transaction()
        await transaction.start()
        await held.execute("SELECT FROM accounts WHERE id = 'acme' FOR UPDATE")
        placing = asyncio.create_task(api.post("/v1/jobs", order()))

        async def is_under_way() -> bool:
            return bool(budgets.in_use)

        await eventually(is_under_way, "one request waits for the account's row")
        check_too_much(await api.post("/v1/jobs", order()))
        check_too_much(await api.get("/v1/prices"))
        await transaction.rollback()
        (await placing).expect(202)
        (await api.get("/v1/prices")).expect(200)
        assert (await rows(deployment))["jobs"] == before["jobs"] + 1
        await eventually(lambda: has_no_requests(budgets), "all is given back")


async def test_what_is_refused_vanishes_or_fails_gives_its_part_back(
    deployment: Deployment,
) -> None:
    budgets = KeyBudgets(max_requests=3, max_waits=3)
    job = await deployment.enqueue()
    async with limited_api(deployment, budgets) as api:
        for _ in range(5):
            for path, body in (("/v1/jobs", {}), ("/v1/jobs/batch", {"jobs": 1})):
                check_refused(await api.post(path, body), 422)
            check_refused(await api.get("/v1/jobs", limit=0), 422)
            check_refused(await api.get("/v1/jobs/%00"), 404)
            check_refused(await api.send("POST", "/v1/jobs", data=b"x"), 415)
            for path in (f"/v1/jobs/{job.id}?wait=60", f"/v1/jobs/{job.id}/events"):
                head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
                await leave_after(api, head.encode())
            await eventually(lambda: has_no_requests(budgets), "all is given back")
        (await api.get("/v1/jobs")).expect(200)


async def test_what_has_changed_something_is_answered_whatever_it_takes(
    deployment: Deployment,
) -> None:
    """A batch is refused before it is stored, for the bytes it sends, or not at all."""
    budgets = KeyBudgets(max_bytes=2_000)
    async with limited_api(deployment, budgets) as api:
        batch = {"jobs": [order(prompt=f"{n} " + "p" * 500) for n in range(20)]}
        placed = (await api.post("/v1/jobs/batch", batch)).expect(202)["jobs"]
        assert len(placed) == 20
        # A single page is longer than the budget as well: a key with nothing else is served.
        (await api.get("/v1/jobs", limit=20)).expect(200)


async def test_an_unread_history_counts_and_ends_the_next_stream(
    deployment: Deployment,
) -> None:
    budgets = KeyBudgets(max_bytes=400_000)
    job = await deployment.enqueue()
    await deployment.run_sql(
        "INSERT INTO job_events (job_id, event, detail) SELECT $1, 'large',"
        " jsonb_build_object('message', repeat('x', 30000)) FROM generate_series(1, 11)",
        job.id,
    )
    path = f"/v1/jobs/{job.id}/events"
    async with limited_api(deployment, budgets) as api:
        url = str(api.session._base_url).rstrip("/")
        with await ask_and_read_nothing(url, path):

            async def is_counted() -> bool:
                return any(count > 300_000 for _, _, count in budgets.in_use.values())

            await eventually(is_counted, "what waits for the first stream is counted")
            async with api.session.get(path) as ended:
                assert b"large" not in await ended.content.read()
            check_too_much(await api.get("/v1/jobs", limit=1000))
        await eventually(lambda: has_no_requests(budgets), "all is given back")
        async with api.session.get(path) as stream:
            for _ in range(200):
                if b"large" in await stream.content.readline():
                    break
            else:
                raise AssertionError("the past is not told")
