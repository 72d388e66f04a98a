"""Kie's file upload host for tests, on a real socket."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson
from aiohttp import BodyPartReader, web
from pydantic import SecretStr

from shared.adapters.kie.kie_connection import UploadAccess
from shared.domain.image_bytes import ImageType

KEY = "upload-key"
HOST = "https://tempfile.redpandaai.co"
_BODY_BYTES_MAX = 64 * 1024 * 1024


@dataclass(slots=True)
class FakeUploads:
    """What was uploaded, and what to answer next."""

    url: str = ""
    stored: dict[str, bytes] = field(default_factory=dict)
    """The bytes by the URL that was answered. A streamed file has its first 64 bytes."""
    sizes: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    """The last word of each path: `base64-upload`, `stream-upload` or `url-upload`."""
    fields: list[dict[str, str]] = field(default_factory=list)
    """The fields of each form or JSON body, without the file."""
    broken_off: int = 0
    answers: list[tuple[int, Any]] = field(default_factory=list)
    """Statuses and bodies of the next responses, instead of storing the file."""
    numbers: count[int] = field(default_factory=lambda: count(1))

    @property
    def access(self) -> UploadAccess:
        """Where it listens."""
        return UploadAccess(self.url, SecretStr(KEY))

    async def choose_access(self) -> UploadAccess:
        """Return where it listens, as `Producer.connect_to` takes it."""
        return self.access

    async def take_base64(self, request: web.Request) -> web.Response:
        """Store a file of a JSON body."""
        body = orjson.loads(await request.read())
        head, _, data = body.pop("base64Data").partition(",")
        assert head in {f"data:{one.value};base64" for one in ImageType}
        return self._answer(request, body, base64.b64decode(data, validate=True))

    async def take_stream(self, request: web.Request) -> web.Response:
        """Store the start and the size of a file of a form."""
        fields: dict[str, str] = {}
        start, size = b"", 0
        try:
            async for part in await request.multipart():
                assert isinstance(part, BodyPartReader)
                if part.name != "file":
                    fields[part.name or ""] = await part.text()
                    continue
                assert fields, "the fields come before the file"
                while data := await part.read_chunk(65_536):
                    start, size = start or data[:64], size + len(data)
        except Exception:
            self.broken_off += 1
            raise
        return self._answer(request, fields, start, size)

    async def take_url(self, request: web.Request) -> web.Response:
        """Store what another URL names, if it was answered here."""
        body = orjson.loads(await request.read())
        data = self.stored.get(body["fileUrl"])
        if data is None:
            return _error(request, 500, "Failed to download")
        return self._answer(request, body, data, self.sizes[body["fileUrl"]])

    def _answer(
        self, request: web.Request, fields: dict[str, str], data: bytes, size: int | None = None
    ) -> web.Response:
        self.requests.append(request.path.removeprefix("/api/file-"))
        self.fields.append(fields)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return _error(request, 401, f"{request.headers.get('Authorization')} is unauthorized")
        if self.answers:
            status, answer = self.answers.pop(0)
            return web.json_response(answer, status=status)
        if not fields.get("uploadPath") or "/" in fields["uploadPath"]:
            return _error(request, 400, "Missing required parameter: uploadPath")
        path = f"kieai/183/{fields['uploadPath']}/{fields['fileName']}"
        url = f"{HOST}/{next(self.numbers)}/{path}"
        self.stored[url], self.sizes[url] = data, len(data) if size is None else size
        stored = {
            "success": True,
            "fileName": fields["fileName"],
            "filePath": path,
            "downloadUrl": url,
            "fileSize": self.sizes[url],
            "mimeType": "image/png",
            "uploadedAt": "2026-10-01T12:00:00.000Z",
        }
        return web.json_response(
            {"success": True, "code": 200, "msg": "File uploaded successfully", "data": stored}
        )


def _error(request: web.Request, code: int, message: str) -> web.Response:
    del request
    return web.json_response({"success": False, "code": code, "msg": message})


@asynccontextmanager
async def receiving_uploads() -> AsyncIterator[FakeUploads]:
    """Run an upload host during the block."""
    fake = FakeUploads()
    app = web.Application(client_max_size=_BODY_BYTES_MAX)
    app.add_routes(
        [
            web.post("/api/file-base64-upload", fake.take_base64),
            web.post("/api/file-stream-upload", fake.take_stream),
            web.post("/api/file-url-upload", fake.take_url),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()
