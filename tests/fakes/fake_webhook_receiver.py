"""A receiver of webhooks on a local socket, which records all and gives configured answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import UUID

import orjson
from aiohttp import web

from tests.support.deployment import eventually


@dataclass(frozen=True, slots=True)
class ReceivedWebhook:
    """One request as it came."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    """By names in lower case."""
    body: bytes
    at: float
    """By the monotonic clock, in seconds."""
    request: web.BaseRequest = field(repr=False)
    """For answering in pieces."""

    @property
    def object(self) -> dict[str, Any]:
        """The body, read as JSON."""
        parsed: dict[str, Any] = orjson.loads(self.body)
        return parsed

    @property
    def job_id(self) -> UUID:
        """The job of the message."""
        return UUID(self.object["data"]["id"])


Answering = Callable[[ReceivedWebhook], Awaitable[web.StreamResponse | int]]


@dataclass(slots=True)
class FakeWebhookReceiver:
    """What came, in order, and how to answer what comes next."""

    url: str
    answering: Answering | None = None
    """Called for each request; returns a status or a whole response. Default: 204."""
    requests: list[ReceivedWebhook] = field(default_factory=list)

    def to(self, path: str) -> list[ReceivedWebhook]:
        """Return the requests to that path."""
        return [one for one in self.requests if one.path == path]

    def answer_in_turn(self, *statuses: int) -> None:
        """Answer the first requests of each message with these, and all later ones with 204."""
        seen: Counter[str] = Counter()

        async def answer(received: ReceivedWebhook) -> int:
            number = seen[received.headers["webhook-id"]]
            seen[received.headers["webhook-id"]] += 1
            return statuses[number] if number < len(statuses) else 204

        self.answering = answer

    async def has(self, count: int, path: str | None = None, timeout_seconds: float = 20) -> None:
        """Wait until so many requests have come, to that path if one is given."""

        async def are_there() -> bool:
            return len(self.requests if path is None else self.to(path)) >= count

        await eventually(are_there, f"{count} webhooks to {path or 'anywhere'}", timeout_seconds)

    async def receive(self, request: web.BaseRequest) -> web.StreamResponse:
        """Note one request and answer it; the handler of the server."""
        received = ReceivedWebhook(
            method=request.method,
            path=request.path,
            query=request.rel_url.raw_query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
            at=monotonic(),
            request=request,
        )
        self.requests.append(received)
        answer = await self.answering(received) if self.answering else 204
        return web.Response(status=answer) if isinstance(answer, int) else answer


@asynccontextmanager
async def receiving() -> AsyncIterator[FakeWebhookReceiver]:
    """Run a receiver for as long as the block lasts; `url` has no path."""
    receiver = FakeWebhookReceiver("")
    runner = web.ServerRunner(web.Server(receiver.receive, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield receiver
    finally:
        await runner.cleanup()


async def never_answer(_: ReceivedWebhook) -> int:
    """Be the answering of an endpoint that hangs."""
    await asyncio.sleep(3600)
    return 204
