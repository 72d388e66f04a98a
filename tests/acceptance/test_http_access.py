"""Access over HTTP: every refusal is 401 or 403 with a reason."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
import pytest

from producer.api import serving_api
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.acceptance.test_http_jobs import order
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, eventually
from tests.support.ports import free_port


def own_address() -> str:
    """Return an address of this machine that is not loopback. No packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as chosen:
        chosen.connect(("192.0.2.1", 9))
        return str(chosen.getsockname()[0])


async def key_of(deployment: Deployment, role: Role, account_id: str | None = None) -> str:
    """Make a key and return its text."""
    _, text = await KeyStore(deployment.database).create(role, account_id)
    return text


@pytest.mark.promise("every client that reaches it directly may do everything")
async def test_without_any_key_every_local_caller_may_do_everything(
    deployment: Deployment,
) -> None:
    async with deployment.api() as api:
        (await api.post("/v1/jobs", order())).expect(202)
        (await api.post("/v1/accounts/acme/grants", {"credits": 1, "reason": "x"})).expect(200)


@pytest.mark.promise("The first key ends this", "`/startupz` and `/metrics` answer without a key")
async def test_once_a_key_exists_no_request_is_served_without_one(deployment: Deployment) -> None:
    key = await key_of(deployment, Role.ADMIN)
    async with deployment.api() as api:
        answer = await api.get("/v1/jobs")
        problem = answer.expect(401)
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="darkroom"'
        assert problem["type"] == "urn:darkroom:problem:key_refused"
        (await api.with_key(key).get("/v1/jobs")).expect(200)
        for path in ("/healthz", "/openapi.json", "/docs"):
            assert (await api.get(path)).status == 200


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer nonsense", "Bearer dk_a_b", ""])
async def test_an_invalid_key_is_refused_with_the_reason(
    deployment: Deployment, header: str
) -> None:
    await key_of(deployment, Role.ADMIN)
    async with deployment.api() as api:
        answer = await api.send("GET", "/v1/jobs", headers={"Authorization": header})
    assert answer.expect(401)["detail"]


async def test_a_revoked_key_is_refused(deployment: Deployment) -> None:
    key = await key_of(deployment, Role.ADMIN)
    async with deployment.api() as api:
        (await api.with_key(key).get("/v1/jobs")).expect(200)
        await KeyStore(deployment.database).revoke(key)

        async def is_refused() -> bool:
            return (await api.with_key(key).get("/v1/jobs")).status == 401

        await eventually(is_refused, "the revocation holds", 3)


@pytest.mark.promise("`404` for a job of another account, and `403`")
async def test_a_service_key_sees_its_account_alone(deployment: Deployment) -> None:
    await deployment.open_account("other", 100)
    mine = await key_of(deployment, Role.SERVICE, "acme")
    async with deployment.api() as nobody:
        api = nobody.with_key(mine)
        other = nobody.with_key(await key_of(deployment, Role.SERVICE, "other"))
        job = (await api.post("/v1/jobs", order())).expect(202)
        theirs = (await other.post("/v1/jobs", order(account_id="other"))).expect(202)

        assert [one["id"] for one in (await api.get("/v1/jobs")).expect(200)["jobs"]] == [job["id"]]
        for method, path in (
            ("GET", f"/v1/jobs/{theirs['id']}"),
            ("GET", f"/v1/jobs/{theirs['id']}/events"),
            ("POST", f"/v1/jobs/{theirs['id']}/cancel"),
        ):
            (await api.send(method, path)).expect(404)
        for path in (
            "/v1/accounts/other",
            "/v1/accounts/other/ledger",
            "/v1/accounts/other/events",
        ):
            problem = (await api.get(path)).expect(403)
            assert "for the account 'acme' alone" in problem["detail"]
        (await api.get("/v1/jobs", account_id="other")).expect(403)
        (await api.post("/v1/jobs", order(account_id="other"))).expect(403)
        batch = {"jobs": [order(), order(account_id="other")]}
        (await api.post("/v1/jobs/batch", batch)).expect(403)
    assert len(await deployment.run_sql("SELECT id FROM jobs")) == 2


async def test_a_service_key_need_not_name_its_account(deployment: Deployment) -> None:
    key = await key_of(deployment, Role.SERVICE, "acme")
    body = {name: value for name, value in order().items() if name != "account_id"}
    async with deployment.api() as nobody:
        job = (await nobody.with_key(key).post("/v1/jobs", body)).expect(202)
    assert job["account_id"] == "acme"


_CHANGE = {"credits": 9, "reason": "Kie raised it"}
_GRANT = {"credits": 5, "reason": "sorry"}


@pytest.mark.parametrize(
    ("role", "method", "path", "body", "status"),
    [
        ("service", "PUT", "/v1/prices/gpt-4o-image/text-to-image/2", _CHANGE, 403),
        ("service", "POST", "/v1/accounts/acme/grants", _GRANT, 403),
        ("service", "GET", "/v1/prices", None, 200),
        ("service", "GET", "/v1/accounts/acme", None, 200),
        ("operator", "PUT", "/v1/prices/gpt-4o-image/text-to-image/2", _CHANGE, 403),
        ("operator", "POST", "/v1/accounts/acme/grants", _GRANT, 403),
        ("operator", "POST", "/v1/jobs", order(), 403),
        ("operator", "GET", "/v1/jobs", None, 200),
        ("operator", "GET", "/v1/accounts/acme/ledger", None, 200),
        ("admin", "PUT", "/v1/prices/gpt-4o-image/text-to-image/2", _CHANGE, 200),
        ("admin", "POST", "/v1/accounts/acme/grants", _GRANT, 200),
        ("admin", "POST", "/v1/jobs", order(), 202),
    ],
)
async def test_a_role_may_do_what_it_is_for(
    deployment: Deployment, role: str, method: str, path: str, body: Any, status: int
) -> None:
    key = await key_of(deployment, Role(role), "acme" if role == "service" else None)
    async with deployment.api() as nobody:
        api = nobody.with_key(key)
        calls = {"GET": api.get, "POST": api.post, "PUT": api.put}
        answer = await (calls[method](path, body) if body else calls[method](path))  # type: ignore[operator]
    problem = answer.expect(status)
    if status == 403:
        assert f"the role {role}" in problem["detail"]


@pytest.mark.parametrize("is_allowed", [False, True])
async def test_a_viewer_reads_everything_but_what_jobs_are_about(
    deployment: Deployment, is_allowed: bool
) -> None:
    private = {"metadata": {"customer": "c-9"}, "webhook_url": "https://hooks.example/x"}
    viewer = await key_of(deployment, Role.VIEWER)
    admin = await key_of(deployment, Role.ADMIN)
    async with deployment.api(viewers_see_prompts=is_allowed) as nobody:
        body = order(**private)
        job = (await nobody.with_key(admin).post("/v1/jobs", body)).expect(202)
        api = nobody.with_key(viewer)
        one = (await api.get(f"/v1/jobs/{job['id']}")).expect(200)
        [listed] = (await api.get("/v1/jobs")).expect(200)["jobs"]
        for path in ("/v1/prices", "/v1/accounts/acme", "/v1/accounts/acme/ledger"):
            (await api.get(path)).expect(200)
        (await api.post(f"/v1/jobs/{job['id']}/cancel")).expect(403)
    assert one == listed
    if is_allowed:
        assert one == job
    else:
        assert (one["request"]["prompt"], one["metadata"]) == ("(masked)", {})
        assert {**one, "request": 0, "metadata": 0} == {**job, "request": 0, "metadata": 0}


async def test_a_page_led_here_under_another_name_is_refused(deployment: Deployment) -> None:
    async with deployment.api() as api:
        for host in ("evil.example", "evil.example:8080", "192.0.2.1", "[2001:db8::1]:80", "[", ""):
            answer = await api.send("GET", "/v1/jobs", headers={"Host": host})
            assert answer.status in {400, 401}, host
        for host in ("localhost:8080", "127.0.0.1", "[::1]:8080"):
            answer = await api.send("GET", "/v1/jobs", headers={"Host": host})
            answer.expect(200)


async def test_one_configured_address_answers_probes_alone_until_there_is_a_key(
    deployment: Deployment,
) -> None:
    host, port = own_address(), free_port()
    settings = deployment.settings.model_copy(update={"api_host": host, "api_port": port})
    async with serving_api(settings) as addresses, aiohttp.ClientSession() as session:
        assert addresses == [f"127.0.0.1:{port}"]
        async with session.get(f"http://127.0.0.1:{port}/v1/jobs") as here:
            assert here.status == 200
        for path, status in (("/readyz", 200), ("/v1/jobs", 401), ("/readyz/", 401)):
            async with session.get(f"http://{host}:{port}{path}") as there:
                assert there.status == status, path
        key = await key_of(deployment, Role.ADMIN)

        async def is_served() -> bool:
            headers = {"Authorization": f"Bearer {key}"}
            async with session.get(f"http://{host}:{port}/v1/jobs", headers=headers) as there:
                return there.status == 200

        await eventually(is_served, "the address serves", 5)
        new = {"Connection": "close"}
        with pytest.raises(aiohttp.ClientConnectorError):
            async with aiohttp.ClientSession() as other:
                await other.get(f"http://127.0.0.1:{port}/healthz", headers=new)


@pytest.mark.promise(
    "the API serves this machine alone", "Other machines are answered `/healthz`, `/readyz`"
)
async def test_the_api_stays_on_loopback_until_there_is_a_key(deployment: Deployment) -> None:
    port = free_port()
    settings = deployment.settings.model_copy(update={"api_host": "0.0.0.0", "api_port": port})
    async with serving_api(settings) as addresses, aiohttp.ClientSession() as session:
        assert addresses == [f"127.0.0.1:{port}"]
        elsewhere = ApiClient(aiohttp.ClientSession(f"http://{own_address()}:{port}"))
        try:
            for path in ("/healthz", "/readyz", "/startupz"):
                assert (await elsewhere.get(path)).status == 200, path
            for path in ("/v1/jobs", "/metrics", "/docs", "/openapi.json", "/console", "/nowhere"):
                refused = (await elsewhere.get(path)).expect(401)
                assert "no API key exists" in refused["detail"]
            (await elsewhere.post("/v1/jobs", order())).expect(401)
            key = await key_of(deployment, Role.ADMIN)

            async def is_reachable() -> bool:
                return (await elsewhere.with_key(key).get("/v1/jobs")).status == 200

            await eventually(is_reachable, "the API listens on every address", 5)
        finally:
            await elsewhere.session.close()
        async with session.get(f"http://127.0.0.1:{port}/v1/jobs") as refused:
            assert refused.status == 401
