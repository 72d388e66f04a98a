"""The receiver of the campaign's webhooks. Records all, and accepts some only the second time."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from worker.webhooks.webhook_signature import webhook_signature

_REFUSED_ONE_IN, _LEFT_WITHOUT_ANSWER_ONE_IN = 11, 13


@dataclass(frozen=True, slots=True)
class Webhook:
    """One received try of one message."""

    message: str
    """The `webhook-id`, the same for every try."""
    job_id: str
    event: str
    """`job.succeeded` and so on; `job.delivered_late` follows the message of the end."""
    state: str
    timestamp: int
    signature: str
    body: bytes = field(repr=False)

    def is_signed_with(self, secret: str) -> bool:
        """Return whether one of its signatures is valid for the secret."""
        right = webhook_signature(secret, self.message, self.timestamp, self.body)
        return any(hmac.compare_digest(right, one) for one in self.signature.split())


class WebhookRecorder:
    """Every webhook received so far."""

    def __init__(self) -> None:
        self.webhooks: list[Webhook] = []
        self.url = ""
        self._seen: set[str] = set()

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Record a webhook. The first try of some is refused, or recorded and not answered."""
        body = await request.read()
        told, headers = orjson.loads(body), request.headers
        job = told["data"]
        message = headers["webhook-id"]
        is_first, number = message not in self._seen, int(message[-8:], 16)
        self._seen.add(message)
        if is_first and number % _REFUSED_ONE_IN == 0:
            return web.Response(status=503)
        self.webhooks.append(
            Webhook(
                message,
                job["id"],
                told["type"],
                job["state"],
                int(headers["webhook-timestamp"]),
                headers["webhook-signature"],
                body,
            )
        )
        if is_first and number % _LEFT_WITHOUT_ANSWER_ONE_IN == 0 and request.transport:
            request.transport.abort()
        return web.Response(status=204)


@asynccontextmanager
async def open_webhook_recorder() -> AsyncIterator[WebhookRecorder]:
    """Receive on a loopback port during the block."""
    webhook_recorder = WebhookRecorder()
    app = web.Application()
    app.router.add_post("/ends", webhook_recorder.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        webhook_recorder.url = f"http://127.0.0.1:{runner.addresses[0][1]}/ends"
        yield webhook_recorder
    finally:
        await runner.cleanup()
