"""Kie's file upload API. It stores a file for 24 hours, returns a public URL, and costs nothing.

A small file is sent as base64. A larger one is streamed, so it is never held in memory. The key is
only in the Authorization header, and is removed from messages.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterable, AsyncIterator
from secrets import token_hex
from types import TracebackType
from typing import Any

import aiohttp
import orjson
from aiohttp import ClientSession, ClientTimeout

from shared.adapters.http.proxy_options import find_proxy_fault, proxy_options
from shared.adapters.kie.kie_connection import UploadAccess
from shared.adapters.tcp_keepalive import open_keep_alive_socket
from shared.errors import UploadFailed
from shared.installed_version import user_agent
from shared.text_and_url_checks import check_public_url

FILE_LIFE_SECONDS = 24 * 3600
"""How long Kie stores a file."""
BASE64_BYTES_MAX = 128 * 1024
"""Larger files are streamed. Kie advises base64 up to 10 MB, but it holds the file in memory."""
UPLOAD_PATH = "darkroom"
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
"""How long Kie may take and send nothing."""
_ANSWER_BYTES_MAX = 64 * 1024
_MESSAGE_LENGTH_MAX = 300
_OK = 200
_SERVER_FAULT = 500


class FileUploads:
    """A client of Kie's file upload API. Use it as an async context manager.

    Every method returns the public URL of the stored file, and raises `UploadFailed` if Kie does
    not take it or does not answer. A file of a name that exists is replaced.
    """

    def __init__(self, access: UploadAccess, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._access = access
        self._silence_seconds = silence_seconds
        self._proxy = proxy_options(access.proxies, access.base_url)
        self._proxy_setting = access.proxies.setting_for(access.base_url.partition(":")[0])
        self._session: ClientSession | None = None

    async def __aenter__(self) -> FileUploads:
        self._session = ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=open_keep_alive_socket),
            timeout=ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=self._silence_seconds
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": user_agent(),
                "Accept": "application/json",
                "Authorization": f"Bearer {self._access.key.get_secret_value()}",
            },
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def upload_small(self, data: bytes, name: str, content_type: str) -> str:
        """Upload a file of up to `BASE64_BYTES_MAX` as base64.

        Kie sometimes answers 500 to base64. The file is then streamed.
        """
        encoded = base64.b64encode(data).decode("ascii")
        body = {
            "base64Data": f"data:{content_type};base64,{encoded}",
            "uploadPath": UPLOAD_PATH,
            "fileName": name,
        }
        answer = await self._post("/api/file-base64-upload", json=body)
        if _code_of(answer) >= _SERVER_FAULT:
            return await self.upload_stream(_one_part(data), name, content_type)
        return self._read_url(answer)

    async def upload_stream(self, parts: AsyncIterable[bytes], name: str, content_type: str) -> str:
        """Upload the parts of a file as they come. Errors of `parts` are raised unchanged.

        Kie discards a file whose parts end with an error.
        """
        boundary = f"darkroom-{token_hex(16)}"
        source = _Source(_multipart(parts, name, content_type, boundary))
        try:
            answer = await self._post(
                "/api/file-stream-upload",
                data=source,
                headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
            )
        except UploadFailed:
            if source.error is not None:
                raise source.error from None
            raise
        if source.error is not None:
            raise source.error
        return self._read_url(answer)

    async def upload_from(self, url: str, name: str) -> str:
        """Have Kie fetch a URL and store what it finds there."""
        body = {"fileUrl": url, "uploadPath": UPLOAD_PATH, "fileName": name}
        return self._read_url(await self._post("/api/file-url-upload", json=body))

    async def _post(self, path: str, **options: Any) -> Any:
        """Return the JSON of the response with its HTTP status as `status`."""
        if self._session is None:
            raise RuntimeError("the client is not open: use it inside `async with`")
        try:
            async with self._session.post(
                self._access.base_url + path, allow_redirects=False, **self._proxy, **options
            ) as response:
                content, status = await _read_start(response), response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            fault = find_proxy_fault(error, self._proxy_setting)
            words = fault or str(error) or type(error).__name__
            raise UploadFailed(self._sanitize(f"Kie's upload host does not answer: {words}")) from (
                error
            )
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:
            body = None
        return {**(body if isinstance(body, dict) else {}), "status": status}

    def _read_url(self, answer: Any) -> str:
        data, code = answer.get("data"), _code_of(answer)
        if code != _OK or answer.get("success") is False or not isinstance(data, dict):
            message = str(answer.get("msg") or "no further words")
            raise UploadFailed(self._sanitize(f"Kie did not take the file: {code}: {message}"))
        try:
            return check_public_url(data.get("downloadUrl"))
        except ValueError as error:
            raise UploadFailed(f"Kie took the file, but its URL {error}") from error

    def _sanitize(self, text: str) -> str:
        line = "".join(c for c in " ".join(text.split()) if c.isprintable())
        line = line.replace(self._access.key.get_secret_value(), "[key]")
        return line if len(line) <= _MESSAGE_LENGTH_MAX else line[: _MESSAGE_LENGTH_MAX - 1] + "…"


class _Source:
    """An iterable that records the error with which it ended. aiohttp raises its own instead."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts
        self.error: Exception | None = None

    def __aiter__(self) -> _Source:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._parts)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.error = error
            raise


async def _one_part(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _multipart(
    parts: AsyncIterable[bytes], name: str, content_type: str, boundary: str
) -> AsyncIterator[bytes]:
    """Yield a form with the fields before the file, so that Kie can store it as it arrives."""
    for field, value in (("uploadPath", UPLOAD_PATH), ("fileName", name)):
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        yield head.encode()
    yield (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    ).encode()
    async for part in parts:
        yield part
    yield f"\r\n--{boundary}--\r\n".encode()


async def _read_start(response: aiohttp.ClientResponse) -> bytes:
    """Return the body, or the start of one that is too long, which is no JSON then."""
    content = bytearray()
    while len(content) < _ANSWER_BYTES_MAX and (part := await response.content.readany()):
        content += part
    return bytes(content)


def _code_of(answer: Any) -> int:
    """Return Kie's code, or the HTTP status of a response without one or of a failed one."""
    status, code = int(answer["status"]), answer.get("code")
    is_number = isinstance(code, int) and not isinstance(code, bool)
    return code if status == _OK and is_number else status
