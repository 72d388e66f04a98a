"""A host of images, each with its bytes or the status that it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass(slots=True)
class ImageHost:
    """What it serves, and what was asked for."""

    url: str = ""
    answers: dict[str, bytes | int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request."""
        self.requests.append(request.path)
        answer = self.answers.get(request.path, 404)
        if isinstance(answer, int):
            return web.Response(status=answer)
        return web.Response(body=answer, content_type="application/octet-stream")

    def serve(self, name: str, answer: bytes | int) -> str:
        """Answer so at this path, and return its URL."""
        self.answers[f"/{name}"] = answer
        return f"{self.url}/{name}"


@asynccontextmanager
async def running_image_host() -> AsyncIterator[ImageHost]:
    """Run a host without images."""
    host = ImageHost()
    app = web.Application()
    app.router.add_get("/{name:.*}", host.answer)
    async with TestServer(app) as server:
        host.url = str(server.make_url("")).rstrip("/")
        yield host
