"""How every listener of every process, and every route, handles request bodies."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from producer.api.routes import ENDPOINTS
from producer.keys.roles import Role
from shared.adapters.processes.service_phase import PROBE_PATHS
from tests.acceptance.test_hostile_callers import path_of
from tests.acceptance.test_hostile_input import rows
from tests.acceptance.test_http_access import key_of
from tests.support.deployment import Deployment, WorkerProcess, environment, text_to_image
from tests.support.ports import free_port

OF_EVERY_PROCESS = [("GET", path) for path in (*PROBE_PATHS, "/metrics")]
OF_THE_API = [
    *((one.method, path_of(one)) for one in ENDPOINTS),
    *OF_EVERY_PROCESS,
    *(("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/nowhere"), ("POST", "/")),
]
OF_CALLBACKS = [("POST", "/callbacks/kie/nobody"), ("POST", "/nowhere")]
OF_THE_SIMULATOR = [
    ("POST", "/api/v1/gpt4o-image/generate"),
    ("GET", "/api/v1/gpt4o-image/record-info"),
    ("GET", "/api/v1/chat/credit"),
    ("POST", "/simulator/reset"),
]
BOMB = gzip.compress(b"0" * 2_000_000)


@asynccontextmanager
async def every_listener(deployment: Deployment) -> AsyncIterator[dict[str, tuple[int, list[Any]]]]:
    """Open each listener that Darkroom has; yields its port and its routes, by name."""
    callbacks, worker = free_port(), free_port()
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(deployment.api())
        await stack.enter_async_context(
            deployment.worker(worker_http_port=worker, callback_http_port=callbacks)
        )
        simulator = urlsplit(deployment.settings.kie_base_url).port
        assert api.session._base_url is not None
        assert simulator is not None
        yield {
            "api": (int(api.session._base_url.port or 0), OF_THE_API),
            "worker": (worker, [*OF_EVERY_PROCESS, *OF_CALLBACKS]),
            "callbacks": (callbacks, OF_CALLBACKS),
            "simulator": (simulator, OF_THE_SIMULATOR),
        }


async def ask(port: int, text: bytes) -> tuple[int, bytes]:
    """Send these bytes on a new connection. Return the status and everything received."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text)
        async with asyncio.timeout(20):
            answer = await reader.read()
    finally:
        writer.transport.abort()
    return int(answer.split(b" ", 2)[1]), answer


def request(method: str, path: str, length: int, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def test_every_route_of_every_listener_refuses_a_compressed_body(
    deployment: Deployment,
) -> None:
    """Before it is unpacked, before anybody is asked for a key, and with nothing stored."""
    admin = await key_of(deployment, Role.ADMIN)
    before = await rows(deployment)
    async with every_listener(deployment) as listeners:
        loop = asyncio.get_running_loop()
        for name, (port, routes) in listeners.items():
            for method, path in routes:
                for key in ("", f"Authorization: Bearer {admin}"):
                    headers = [
                        *(one for one in (key,) if one),
                        *("Content-Type: application/json", "Content-Encoding: gzip"),
                        "Connection: close",
                    ]
                    began = loop.time()
                    text = request(method, path, len(BOMB), *headers) + BOMB
                    status, answer = await ask(port, text)
                    assert status == 415, (name, method, path)
                    assert b"Accept-Encoding: identity" in answer
                    assert loop.time() - began < 5
        assert await rows(deployment) == before


@pytest.mark.promise("is answered with `Connection: close`, and the rest of its body is not read")
async def test_every_route_of_every_listener_ends_a_connection_whose_body_it_does_not_read(
    deployment: Deployment,
) -> None:
    await key_of(deployment, Role.ADMIN)
    async with every_listener(deployment) as listeners:
        for name, (port, known) in listeners.items():
            # The simulator reads every body, and waits for it until its deadline.
            routes = [one for one in known if name != "simulator" or one[0] == "GET"]
            # All at once, as each is waited for up to a second.
            answers = await asyncio.gather(
                *(
                    ask(port, request(method, path, 30_000_000) + b"x" * 1000)
                    for method, path in routes
                )
            )
            for (method, path), (status, answer) in zip(routes, answers, strict=True):
                head = answer.partition(b"\r\n\r\n")[0].lower()
                assert b"connection: close" in head, (name, method, path, status)


async def test_the_list_of_calls_has_every_route_of_the_api(deployment: Deployment) -> None:
    async with deployment.api() as api:
        document = (await api.get("/openapi.json")).expect(200)
    walked = {path for _, path in OF_THE_API}
    for path in document["paths"]:
        assert path in walked or any(one.path == path for one in ENDPOINTS), path


@pytest.mark.parametrize("is_apart", [False, True], ids=["one port", "a port of their own"])
async def test_callbacks_come_where_they_are_configured_to_come(
    deployment: Deployment, is_apart: bool
) -> None:
    """By default on the worker's port, which serves health and metrics either way."""
    callbacks, worker = free_port(), free_port()
    async with deployment.worker(
        worker_http_port=worker,
        callback_http_port=callbacks if is_apart else None,
        kie_callback_url=f"http://127.0.0.1:{callbacks if is_apart else worker}",
    ):
        job = await deployment.enqueue(text_to_image("[[sim: duration=0.5]]"))
        await deployment.ended(job)
        for method, path in OF_EVERY_PROCESS:
            text = request(method, path, 0, "Connection: close")
            assert (await ask(worker, text))[0] == 200
            if is_apart:
                assert (await ask(callbacks, text))[0] == 404
        status, answer = await ask(
            worker, request("POST", "/callbacks/kie/nobody", 2, "Connection: close") + b"{}"
        )
        assert status == (404 if is_apart else 400)
        assert (b"CALLBACK_HTTP_PORT" in answer) is is_apart
    (row,) = await deployment.run_sql("SELECT verdict FROM callback_inbox")
    assert row["verdict"] == "hastened"


async def test_a_long_callback_for_nobody_is_refused_before_it_is_read(
    deployment: Deployment,
) -> None:
    body = orjson.dumps({"data": {"taskId": "t", "info": "x" * 50_000}})
    async with deployment.worker_with_callbacks() as resources:
        port = resources.deps.settings.worker_http_port
        head = request("POST", "/callbacks/kie/nobody", len(body))
        # The body never comes, so a server that waited for it would not answer.
        status, answer = await ask(port, head)
        assert (status, b"no attempt has this token" in answer) == (404, True)
        chunked = head.replace(
            f"Content-Length: {len(body)}".encode(), b"Transfer-Encoding: chunked"
        )
        assert (await ask(port, chunked))[0] == 404
    assert await deployment.run_sql("SELECT 1 FROM callback_inbox") == []


async def test_a_worker_with_few_descriptors_continues_under_a_flood_of_half_requests(
    deployment: Deployment,
) -> None:
    """With a limit of 300 it still reaches its servers after 500 incomplete callbacks."""
    port = free_port()
    halves = []
    environ = {**environment(deployment.settings), "WORKER_HTTP_PORT": str(port)}
    worker = WorkerProcess(environ, descriptors=300)
    await worker.start()
    try:
        for number in range(500):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(f"127.0.0.{2 + number % 50}", 0)
            )
            halves.append((reader, writer))
            writer.write(request("POST", "/callbacks/kie/nobody", 100) + b"x")
        job = await deployment.enqueue()
        ended = await deployment.ended(job)
        assert ended.state == "succeeded"
    finally:
        for _, writer in halves:
            writer.transport.abort()
        await worker.kill()
    told = [line for line in worker.lines if "connections_refused" in line]
    assert 0 < len(told) <= 3
    assert not any("Traceback" in line for line in worker.lines)
