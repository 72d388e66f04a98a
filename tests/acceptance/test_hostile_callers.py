"""Unauthorized, slow, vanishing and flooding callers are refused, and others do not notice."""

from __future__ import annotations

import asyncio
import gzip
import io
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
import pytest
from aiohttp import web

from producer.api.endpoint import BATCH_BODY_BYTES, Endpoint
from producer.api.requests.json_body import read_json_object
from producer.api.responses.json_response import json_response
from producer.api.responses.problems import problem_from_error
from producer.api.routes import ENDPOINTS
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.errors import DarkroomError
from tests.acceptance.test_hostile_input import check_refused, rows, unmoved
from tests.acceptance.test_http_access import key_of
from tests.acceptance.test_http_jobs import order
from tests.support.api_client import ApiClient
from tests.support.deployment import WAIT_SECONDS, Deployment, environment, text_to_image

GROWTH_BYTES_MAX = 24 * 1024 * 1024


def path_of(endpoint: Endpoint, account_id: str = "acme", job_id: str = "") -> str:
    """Return an address of the endpoint: of that account, or of that job."""
    path = endpoint.path.replace("{model}", "gpt-4o-image").replace("{task}", "text-to-image")
    named = job_id or str(uuid4()) if "/jobs/" in path else account_id
    path = path.replace("{quantity}", "1").replace("{number}", "1").replace("{id}", named)
    assert "{" not in path, "this function knows no value of that part of the path"
    return path


async def ask(api: ApiClient, endpoint: Endpoint, path: str, **headers: str) -> Any:
    given = {"Content-Type": "application/json", **headers}
    return await api.send(endpoint.method, path, data=b"{}", headers=given)


# --- who may ---------------------------------------------------------------------------------


async def test_no_request_is_served_without_a_valid_key(
    deployment: Deployment, subtests: pytest.Subtests
) -> None:
    key_store = KeyStore(deployment.database)
    revoked = await key_of(deployment, Role.ADMIN)
    await key_store.revoke(revoked)
    unknown = revoked[:-1] + ("a" if revoked[-1] != "a" else "b")
    async with deployment.api() as api:
        before = await rows(deployment)
        for endpoint in ENDPOINTS:
            with subtests.test(endpoint.name):
                check_refused(await ask(api, endpoint, path_of(endpoint)), 401)
                for key in (revoked, unknown, "", "nonsense", f"{revoked} {revoked}", "dk_\u00e4"):
                    header = f"Bearer {key}"
                    answer = await ask(api, endpoint, path_of(endpoint), Authorization=header)
                    problem = check_refused(answer, 401)
                    assert revoked not in str(problem)
                assert await rows(deployment) == before


async def test_a_key_of_another_role_is_refused(
    deployment: Deployment, subtests: pytest.Subtests
) -> None:
    accounts = {Role.SERVICE: "acme"}
    keys = {role: await key_of(deployment, role, accounts.get(role)) for role in Role}
    async with deployment.api() as api:
        before = await rows(deployment)
        for endpoint in ENDPOINTS:
            with subtests.test(endpoint.name):
                for role in set(Role) - endpoint.roles:
                    answer = await ask(api.with_key(keys[role]), endpoint, path_of(endpoint))
                    assert "allowed:" in check_refused(answer, 403)["detail"]
                assert await rows(deployment) == before


async def test_without_keys_another_name_than_localhost_is_refused(
    deployment: Deployment, subtests: pytest.Subtests
) -> None:
    """A page led here by a name that changed its address sends that name."""
    hosts = ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1")
    async with unmoved(deployment) as api:
        for endpoint in ENDPOINTS:
            with subtests.test(endpoint.name):
                for host in hosts:
                    check_refused(await ask(api, endpoint, path_of(endpoint), Host=host), 401)


async def test_one_account_never_meets_another(deployment: Deployment) -> None:
    await deployment.open_account("other", 100)
    await deployment.enqueue()
    theirs = await deployment.producer.enqueue(text_to_image(), account_id="other")
    mine = await key_of(deployment, Role.SERVICE, "acme")
    async with deployment.api() as nobody:
        api = nobody.with_key(mine)
        before = await rows(deployment)
        for endpoint in ENDPOINTS:
            if "/jobs/{id}" in endpoint.path:
                path = path_of(endpoint, job_id=str(theirs.id))
                answer = await ask(api, endpoint, path)
                unknown = await ask(api, endpoint, path_of(endpoint))
                # A job of another account and a job that does not exist get the same response.
                status = 404 if Role.SERVICE in endpoint.roles else 403
                problem = check_refused(answer, status)
                assert problem["type"] == check_refused(unknown, status)["type"]
            elif "/accounts/{id}" in endpoint.path:
                check_refused(await ask(api, endpoint, path_of(endpoint, "other")), 403)
                check_refused(await ask(api, endpoint, path_of(endpoint, "nobody")), 403)
        check_refused(await api.get("/v1/jobs", account_id="other"), 403)
        check_refused(await api.post("/v1/jobs", order(account_id="other")), 403)
        batch = [order(), order(account_id="other")]
        check_refused(await api.post("/v1/jobs/batch", {"jobs": batch}), 403)
        page = (await api.get("/v1/jobs")).expect(200)["jobs"]
        assert {job["account_id"] for job in page} == {"acme"}
        follow = (await api.get("/v1/jobs", cursor=str(theirs.id))).expect(200)["jobs"]
        assert {job["account_id"] for job in follow} <= {"acme"}
        assert await rows(deployment) == before
    assert (await deployment.producer.get(theirs.id)).state == "queued"


# --- who dawdles or vanishes -------------------------------------------------------------------


@pytest.mark.promise("request_too_slow", "time for a body to arrive")
async def test_a_body_that_does_not_arrive_in_time_is_refused() -> None:
    async def read(request: web.Request) -> web.StreamResponse:
        try:
            return json_response(await read_json_object(request, 1_000, timeout_seconds=0.2))
        except DarkroomError as error:
            return problem_from_error(error)

    async def dawdle() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    never = asyncio.Event()
    app = web.Application()
    app.router.add_post("/read", read)
    async with serving(app) as url, aiohttp.ClientSession(url) as session:
        api = ApiClient(session)
        headers = {"Content-Type": "application/json"}
        async with asyncio.timeout(10):
            answer = await api.send("POST", "/read", data=dawdle(), headers=headers)
        assert "within 0.2 s" in check_refused(answer, 408)["detail"]
        again = await api.send("POST", "/read", data=b"{}", headers=headers)
        assert again.expect(200) == {}


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_client_that_disconnects_within_a_body_leaves_nothing_behind(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    body = orjson.dumps(order())
    head = (
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    async with unmoved(deployment) as api:
        for sent in range(0, len(body), 20):
            await leave_after(api, head + body[:sent])
        await leave_after(api, head[:40])
        await leave_after(api, b"")
    assert caplog.records == []


async def test_a_client_that_disconnects_within_a_wait_is_not_waited_for(
    deployment: Deployment,
) -> None:
    job = await deployment.enqueue()
    before = await rows(deployment)
    async with asyncio.timeout(20), deployment.api() as api:
        for path in (f"/v1/jobs/{job.id}?wait=60", f"/v1/jobs/{job.id}/events"):
            for _ in range(20):
                await leave_after(
                    api, b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()
                )
        (await api.get("/v1/jobs")).expect(200)
        stopping = asyncio.get_running_loop().time()
    # The API waits up to 20 s for requests in progress. There were none.
    assert asyncio.get_running_loop().time() - stopping < 5
    assert await rows(deployment) == before


async def test_a_head_gets_no_body_and_leaves_the_connection_in_order(
    deployment: Deployment,
) -> None:
    job = await deployment.enqueue()
    connector = aiohttp.TCPConnector(limit=1)
    async with (
        deployment.api() as api,
        aiohttp.ClientSession(api.session._base_url, connector=connector) as session,
    ):
        # No file or message has that id, a queued job has no image, and a quote is of a request.
        absent = {
            **dict.fromkeys(("getFile", "getJobImage", "getWebhook", "getWebhookSecret"), 404),
            "getQuote": 422,
        }
        for endpoint in ENDPOINTS:
            if endpoint.method == "GET":
                status = absent.get(endpoint.name, 405 if endpoint.is_stream else 200)
                async with session.head(path_of(endpoint, job_id=str(job.id))) as answer:
                    assert answer.status == status, endpoint.name
                    assert await answer.read() == b""
                (await ApiClient(session).get("/v1/prices")).expect(200)


async def leave_after(api: ApiClient, sent: bytes) -> None:
    """Send the data on a new connection, and disconnect."""
    url = api.session._base_url
    assert url is not None
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(sent)
    await writer.drain()
    writer.transport.abort()


# --- who floods --------------------------------------------------------------------------------


class ApiProcess:
    """The API in a separate process, whose memory can be measured."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process, self.url = process, url

    def memory_bytes(self) -> int:
        """Return what the process has in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [one for one in status.splitlines() if one.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024


@asynccontextmanager
async def api_process(deployment: Deployment) -> AsyncIterator[ApiProcess]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producer", "api"),
        env=environment(deployment.settings),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    draining = None
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while b"api_started" not in (line := await process.stderr.readline()):
                assert line, "the API did not start"
        draining = asyncio.create_task(process.stderr.read())
        yield ApiProcess(process, f"http://{orjson.loads(line)['http']}")
    finally:
        process.terminate()
        await process.wait()
        if draining is not None:
            await draining


def huge_bodies() -> list[tuple[str, Any, dict[str, str], int]]:
    """Return floods of every kind: the path, the body, its headers, and the answer they get."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(BATCH_BODY_BYTES // 65_536 + 8):
            yield b" " * 65_536

    nonsense = orjson.dumps({"jobs": [{"prompt": "x" * 20_000}] * 100})
    deep = b'{"metadata": ' + b"[" * 100_000
    bomb = gzip.compress(b"\0" * 50_000_000)
    return [
        ("/v1/jobs/batch", endless, {}, 413),
        ("/v1/jobs/batch", lambda: io.BytesIO(nonsense), {}, 422),
        ("/v1/jobs", lambda: deep, {}, 400),
        ("/v1/jobs/batch", lambda: deep, {}, 400),
        ("/v1/accounts/acme/grants", endless, {}, 413),
        ("/v1/jobs", lambda: bomb, {"Content-Encoding": "gzip"}, 415),
        ("/v1/jobs", lambda: b" " * 200_000, {}, 400),
    ]


async def test_huge_bodies_leave_the_memory_flat(deployment: Deployment) -> None:
    kinds = huge_bodies()
    async with api_process(deployment) as api, aiohttp.ClientSession(api.url) as session:
        caller = ApiClient(session)

        async def flood(count: int) -> None:
            for number in range(count):
                path, body, headers, status = kinds[number % len(kinds)]
                given = {"Content-Type": "application/json", **headers}
                answer = await caller.send("POST", path, data=body(), headers=given)
                check_refused(answer, status)

        before = await rows(deployment)
        await flood(25)
        warm = api.memory_bytes()
        await flood(200)
        grown = api.memory_bytes() - warm
        assert await rows(deployment) == before
    assert grown < GROWTH_BYTES_MAX, f"{grown / 2**20:.0f} MiB more after 200 huge bodies"
    sys.stderr.write(
        f"\n200 huge bodies: {warm / 2**20:.0f} MiB before, {grown / 2**20:+.1f} MiB\n"
    )
