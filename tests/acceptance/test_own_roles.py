"""Each program does all of its work as a login of its own role: every route, and a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from producer import Producer
from producer.actor import Actor
from producer.api.routes import ENDPOINTS
from producer.keys.key_store import Caller, KeyStore
from producer.keys.roles import Role
from producer.keys.session_store import SessionStore
from shared.adapters.servers import Servers
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from tests.acceptance.cli.test_webhooks_cli import dead
from tests.acceptance.test_http_jobs import order
from tests.acceptance.test_http_prices import change_at
from tests.fakes.fake_webhook_receiver import FakeWebhookReceiver, receiving
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.api_client import ApiClient, ApiResponse
from tests.support.database_logins import logged_in
from tests.support.deployment import Deployment, eventually, text_to_image
from tests.support.example_images import encoded_image

PRICE = "/v1/prices/gpt-4o-image/text-to-image/1"


@pytest.fixture
async def producer(servers: Servers) -> AsyncIterator[Producer]:
    """A producer under the development setting, as the workers here are."""
    async with Producer.connect_to(servers, webhooks_allow_loopback=True) as producer:
        yield producer


@pytest.fixture
async def receiver() -> AsyncIterator[FakeWebhookReceiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def api_url(database_url: str) -> AsyncIterator[SecretStr]:
    async with logged_in(database_url, ["darkroom_api"]) as url:
        yield SecretStr(url)


@pytest.fixture
async def worker_url(database_url: str) -> AsyncIterator[SecretStr]:
    async with logged_in(database_url, ["darkroom_worker"]) as url:
        yield SecretStr(url)


async def test_the_api_serves_every_route_as_a_login_of_its_own_role(
    deployment: Deployment, api_url: SecretStr, tmp_path: Path
) -> None:
    _, key = await KeyStore(deployment.database).create(Role.ADMIN)
    store = f"file://{tmp_path}/store"
    async with deployment.worker(results_url=store):
        charged = await deployment.ended(await deployment.enqueue())
    async with deployment.api(database_url=api_url, results_url=store) as nobody:
        api = nobody.with_key(key)
        made = (await api.post("/v1/jobs", order())).expect(202)
        job = f"/v1/jobs/{made['id']}"
        played: dict[tuple[str, str], Callable[[], Awaitable[ApiResponse]]] = {
            ("POST", "/v1/jobs"): lambda: api.post("/v1/jobs", order()),
            ("POST", "/v1/jobs/batch"): lambda: api.post(
                "/v1/jobs/batch", {"jobs": [order(), order()]}
            ),
            ("GET", "/v1/jobs"): lambda: api.get("/v1/jobs", account_id="acme", state="queued"),
            ("GET", "/v1/jobs/{id}"): lambda: api.get(job, wait=0.1),
            ("GET", "/v1/jobs/{id}/events"): lambda: _opened(api, key, f"{job}/events"),
            ("POST", "/v1/jobs/{id}/cancel"): lambda: api.post(f"{job}/cancel"),
            **await _file_routes(api),
            **_image_and_model_routes(api, charged),
            **_money_routes(api, charged),
            **await _operator_routes(api, deployment, charged),
            ("GET", "/v1/jobs/counts"): lambda: api.get("/v1/jobs/counts", state="queued"),
            ("GET", "/v1/overview"): lambda: api.get("/v1/overview"),
            ("GET", "/v1/history"): lambda: api.get("/v1/history", hours=1),
            **_waiting_routes(api),
            ("POST", "/v1/pauses"): lambda: api.post(
                "/v1/pauses", {"scope": "everything", "reason": "for the test"}
            ),
            ("POST", "/v1/pauses/{id}/resume"): lambda: api.post("/v1/pauses/1/resume"),
            ("POST", "/v1/brakes/end"): lambda: api.post(
                "/v1/brakes/end", {"kie_account": "default", "reason": "for the test"}
            ),
            ("GET", "/v1/pauses"): lambda: api.get("/v1/pauses", active="true"),
            **_session_routes(api, deployment),
            ("GET", "/v1/accounts/{id}/events"): lambda: _opened(
                api, key, "/v1/accounts/acme/events"
            ),
            **_erasing_routes(api),
        }
        assert set(played) == {(one.method, one.path) for one in ENDPOINTS}
        statuses = {route: (await ask()).status for route, ask in played.items()}
        assert {route: status for route, status in statuses.items() if status >= 300} == {}
        await eventually(lambda: _is_healthy(api), "nothing was refused")
    history = await deployment.producer.billing.price_history(1)
    assert (history[0]["credits"], history[0]["reason"]) == (9, "for the test")
    await deployment.check_account(balance=10_000, held=3 * 7 + 2 * 9)
    await deployment.check_invariants_hold()


async def _file_routes(
    api: ApiClient,
) -> dict[tuple[str, str], Callable[[], Awaitable[ApiResponse]]]:
    """Return how the routes of uploaded images are requested."""
    path = "/v1/files?account_id=acme"
    file = (await api.send("POST", path, data=encoded_image("PNG"))).expect(201)
    return {
        ("POST", "/v1/files"): lambda: api.send("POST", path, data=encoded_image("WEBP")),
        ("GET", "/v1/files/{id}"): lambda: api.get(f"/v1/files/{file['id']}"),
    }


def _waiting_routes(
    api: ApiClient,
) -> dict[tuple[str, str], Callable[[], Awaitable[ApiResponse]]]:
    order = {"model": "gpt-4o-image", "task": "text-to-image", "aspect_ratio": "1:1"}
    return {
        ("GET", "/v1/queue/waiting"): lambda: api.get("/v1/queue/waiting"),
        ("GET", "/v1/quote"): lambda: api.get(
            "/v1/quote", account_id="acme", prompt="a lighthouse", **order
        ),
        ("POST", "/v1/quote"): lambda: api.post(
            "/v1/quote", {"account_id": "acme", "prompt": "a lighthouse", **order}
        ),
    }


def _erasing_routes(
    api: ApiClient,
) -> dict[tuple[str, str], Callable[[], Awaitable[ApiResponse]]]:
    """Return how prompts are erased, after all others: a pruned job is not retried."""
    return {
        ("POST", "/v1/accounts/{id}/erase-prompts"): lambda: api.post(
            "/v1/accounts/acme/erase-prompts", {"reason": "for the test"}
        ),
    }


def _image_and_model_routes(
    api: ApiClient, charged: Job
) -> dict[tuple[str, str], Callable[[], Awaitable[ApiResponse]]]:
    """Return how images, models and what Kie says of them are requested."""
    return {
        ("GET", "/v1/jobs/{id}/images/{number}"): lambda: api.get(
            f"/v1/jobs/{charged.id}/images/1"
        ),
        ("GET", "/v1/models"): lambda: api.get("/v1/models"),
        ("POST", "/v1/models/{model}/route"): lambda: api.post(
            "/v1/models/gpt-4o-image/route", {"via": "4o-image-api"}
        ),
        ("GET", "/v1/kie/models"): lambda: api.get("/v1/kie/models"),
        ("GET", "/v1/retention"): lambda: api.get("/v1/retention"),
        ("POST", "/v1/retention/prune"): lambda: api.post("/v1/retention/prune", {}),
        ("GET", "/v1/kie/surprises"): lambda: api.get("/v1/kie/surprises"),
        ("GET", "/v1/prices/comparison"): lambda: api.get("/v1/prices/comparison"),
    }


async def _operator_routes(
    api: ApiClient, deployment: Deployment, charged: Job
) -> dict[tuple[str, str], Callable[[], Awaitable[ApiResponse]]]:
    """Return how the routes of operators are requested. Two retries hold 9 credits each."""
    unknown = await DatabaseSetup(deployment.database).job_in(JobState.UNKNOWN)
    queued, untold = await deployment.enqueue(), await dead(deployment)
    (message,) = await deployment.producer.webhooks.list()
    lost = {"verdict": "lost", "reason": "for the test"}
    secret = "/v1/accounts/acme/webhook-secret"
    return {
        ("GET", "/v1/jobs/{id}/details"): lambda: api.get(f"/v1/jobs/{charged.id}/details"),
        ("POST", "/v1/jobs/{id}/retry"): lambda: api.post(
            f"/v1/jobs/{charged.id}/retry", {"again": True}
        ),
        ("POST", "/v1/jobs/{id}/resolve"): lambda: api.post(f"/v1/jobs/{unknown.id}/resolve", lost),
        ("POST", "/v1/jobs/cancel"): lambda: api.post("/v1/jobs/cancel", {"ids": [str(queued.id)]}),
        ("POST", "/v1/jobs/retry"): lambda: api.post("/v1/jobs/retry", {"ids": [str(untold.id)]}),
        ("POST", "/v1/images/retry"): lambda: api.post("/v1/images/retry", {"all": True}),
        ("POST", "/v1/webhooks/{id}/replay"): lambda: api.post(
            f"/v1/webhooks/{message['id']}/replay"
        ),
        ("GET", "/v1/lost-writes"): lambda: api.get("/v1/lost-writes"),
        ("POST", "/v1/alerts/acknowledge"): lambda: api.post(
            "/v1/alerts/acknowledge", {"name": "redis_was_wiped"}
        ),
        ("GET", "/v1/webhooks"): lambda: api.get("/v1/webhooks", account_id="acme"),
        ("GET", "/v1/webhooks/{id}"): lambda: api.get(f"/v1/webhooks/{message['id']}"),
        ("PUT", "/v1/accounts/{id}/webhook-secret"): lambda: api.put(secret, {}),
        ("GET", "/v1/accounts/{id}/webhook-secret"): lambda: api.get(secret),
        ("POST", "/v1/accounts/{id}/webhook-secret/rotate"): lambda: api.post(f"{secret}/rotate"),
        ("POST", "/v1/accounts/{id}/webhook-secret/revoke"): lambda: api.post(f"{secret}/revoke"),
    }


def _money_routes(
    api: ApiClient, charged: Job
) -> dict[tuple[str, str], Callable[[], Awaitable[ApiResponse]]]:
    """Return how the routes of prices and accounts are requested, with a job that was charged."""
    return {
        ("GET", "/v1/prices"): lambda: api.get("/v1/prices"),
        ("PUT", "/v1/prices/{model}/{task}/{quantity}"): lambda: api.put(
            PRICE, {"credits": 9, "reason": "for the test"}
        ),
        ("GET", "/v1/prices/{model}/{task}/{quantity}/preview"): lambda: api.get(
            f"{PRICE}/preview", credits=9
        ),
        ("GET", "/v1/prices/history"): lambda: api.get("/v1/prices/history"),
        ("GET", "/v1/scheduled-prices"): lambda: api.get("/v1/scheduled-prices"),
        ("POST", "/v1/scheduled-prices"): lambda: api.post("/v1/scheduled-prices", change_at()),
        ("POST", "/v1/scheduled-prices/{id}/revoke"): lambda: api.post(
            "/v1/scheduled-prices/1/revoke"
        ),
        ("POST", "/v1/jobs/{id}/refund"): lambda: api.post(
            f"/v1/jobs/{charged.id}/refund", {"credits": 1, "reason": "for the test"}
        ),
        ("GET", "/v1/margin"): lambda: api.get("/v1/margin", by="account"),
        ("GET", "/v1/accounts"): lambda: api.get("/v1/accounts"),
        ("POST", "/v1/accounts"): lambda: api.post("/v1/accounts", {"id": "shop", "credits": 5}),
        ("GET", "/v1/accounts/{id}/statement"): lambda: api.get("/v1/accounts/acme/statement"),
        ("GET", "/v1/accounts/{id}/statement.csv"): lambda: api.get(
            "/v1/accounts/acme/statement.csv"
        ),
        ("GET", "/v1/accounts/{id}"): lambda: api.get("/v1/accounts/acme"),
        ("PATCH", "/v1/accounts/{id}"): lambda: api.send(
            "PATCH", "/v1/accounts/acme", json={"weight": 4, "reason": "for the test"}
        ),
        ("GET", "/v1/accounts/{id}/erasures"): lambda: api.get("/v1/accounts/acme/erasures"),
        ("GET", "/v1/accounts/{id}/ledger"): lambda: api.get("/v1/accounts/acme/ledger"),
        ("POST", "/v1/accounts/{id}/grants"): lambda: api.post(
            "/v1/accounts/acme/grants", {"credits": 5, "reason": "for the test"}
        ),
    }


def _session_routes(
    api: ApiClient, deployment: Deployment
) -> dict[tuple[str, str], Callable[[], Awaitable[ApiResponse]]]:
    """Return how the routes of logins to the console, and of audit entries, are requested."""
    return {
        ("GET", "/v1/sessions"): lambda: api.get("/v1/sessions", ended="true"),
        ("POST", "/v1/sessions/{id}/end"): lambda: _ended_session(api, deployment),
        ("GET", "/v1/audit"): lambda: api.get("/v1/audit", limit=10),
    }


async def _ended_session(api: ApiClient, deployment: Deployment) -> ApiResponse:
    """Log in to the console, and end that over HTTP."""
    sessions = SessionStore(deployment.database)
    key = (await KeyStore(deployment.database).list())[0]
    caller, actor = Caller(key.role, None, key.prefix), Actor("maria")
    token = await sessions.open(caller, actor=actor, address=None, user_agent=None)
    found = await sessions.find(token)
    assert found is not None
    return await api.post(f"/v1/sessions/{found.id}/end")


async def _opened(api: ApiClient, key: str, path: str) -> ApiResponse:
    """Open a stream and close it again."""
    headers = {"Authorization": f"Bearer {key}"}
    async with api.session.get(path, headers=headers) as response:
        return ApiResponse(response.status, response.headers, None)


async def _is_healthy(api: ApiClient) -> bool:
    return (await api.get("/healthz")).status == 200


async def test_a_worker_lives_its_whole_life_as_a_login_of_its_own_role(
    deployment: Deployment, receiver: FakeWebhookReceiver, worker_url: SecretStr
) -> None:
    changes: dict[str, Any] = {
        "database_url": worker_url,
        "job_deadline_seconds": 1.5,
        "webhooks_allow_loopback": True,
    }
    async with deployment.worker_with_callbacks(**changes) as resources:
        good, bad, late = [
            await deployment.enqueue(text_to_image(prompt), webhook_url=receiver.url)
            for prompt in ("good", "[[sim: fail=1]]", "[[sim: duration=5]]")
        ]
        assert (await deployment.ended(good)).state == "succeeded"
        assert (await deployment.ended(bad)).state == "failed"
        assert (await deployment.ended(late)).reason == "deadline_exceeded"

        async def all_is_written() -> bool:
            (row,) = await deployment.run_sql(
                "SELECT (SELECT count(*) FROM late_tasks WHERE outcome = 'delivered') AS late,"
                " (SELECT count(*) FROM webhook_messages WHERE state = 'delivered') AS told,"
                " (SELECT count(*) FROM callback_inbox WHERE handled_at IS NOT NULL) AS called,"
                " (SELECT count(*) FROM completion_times) AS times,"
                " (SELECT count(*) FROM provider_balance_checks) AS balances,"
                " (SELECT count(*) FROM processes WHERE kind = 'worker') AS processes"
            )
            return row["told"] == 4 and all(row.values())

        await eventually(all_is_written, "everything that a worker writes is written")
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{resources.deps.settings.kie_callback_url}/healthz") as health,
        ):
            # It names what Postgres refused in the last half minute.
            assert health.status == 200, await health.text()
    await deployment.check_invariants_hold()
    deployment.check_paid_once()


async def test_a_worker_process_drains_and_deregisters_as_a_login_of_its_own_role(
    deployment: Deployment, worker_url: SecretStr
) -> None:
    async with deployment.worker_process(DATABASE_URL=worker_url.get_secret_value()) as process:
        assert (await deployment.ended(await deployment.enqueue())).state == "succeeded"
        assert await process.stop() == 0
    said = [line for line in process.lines if "permission denied" in line or '"error"' in line]
    assert said == []
    rows = await deployment.run_sql("SELECT stopped_at FROM processes WHERE kind = 'worker'")
    assert [row["stopped_at"] is not None for row in rows] == [True]
