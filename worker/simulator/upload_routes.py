"""The three routes of Kie's file upload, which are on a host of their own there."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import orjson
from aiohttp import web

from .provider_state import Caller, SimulatedProvider
from .responses import MESSAGES, NO_FILE, RefusedError, SimulatedResponse
from .simulated_account import SimulatedAccount
from .uploaded_files import FILE_HOST, UNKNOWN_TYPE, guess_type, is_upload_path

BASE64_UPLOAD = "/api/file-base64-upload"
STREAM_UPLOAD = "/api/file-stream-upload"
URL_UPLOAD = "/api/file-url-upload"

_JSON_TYPE = "application/json"
_BASE64_BYTES_MAX = 10 * 1024 * 1024
_JSON_BYTES_MAX = 2 * _BASE64_BYTES_MAX
_FILE_BYTES_MAX = 100 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_FETCH_SECONDS = 30.0
_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^,]*)?,")
_NAME_PARTS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


class _BadUploadError(Exception):
    """An upload is refused. The message is that of the response, and the code is 400."""


class UploadRoutes:
    """Answers uploads. Bodies are read in parts and go to disk."""

    def __init__(self, kie: SimulatedProvider) -> None:
        self._kie = kie

    async def answer(self, request: web.BaseRequest, caller: Caller) -> SimulatedResponse:
        """Answer a request to one of the three routes."""
        kie = self._kie
        try:
            account = kie.check_caller(caller, "upload")
        except RefusedError as refused:
            return _as_upload_error(refused.reply)
        faults = kie.faults_of(account)
        if faults.upload_code and kie.draw(faults.upload_code_rate):
            return upload_error(faults.upload_code)
        draft = kie.files.open_draft()
        try:
            match request.path:
                case path if path == STREAM_UPLOAD:
                    fields = await _read_multipart(request, draft)
                case path if path == BASE64_UPLOAD:
                    fields = await _read_base64(request, draft)
                case _:
                    fields = await _read_url(request, draft, self._kie.base_url)
            return self._keep(account, fields, draft)
        except _BadUploadError as fault:
            draft.unlink(missing_ok=True)
            return upload_error(400, str(fault))
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    def answer_file(self, path: str) -> SimulatedResponse:
        """GET of a file: the bytes that were uploaded."""
        kept = self._kie.files.find(path)
        if kept is None:
            return NO_FILE
        return SimulatedResponse("200", file=kept.on_disk, content_type=kept.content_type)

    def _keep(
        self, account: SimulatedAccount, fields: Mapping[str, str], draft: Path
    ) -> SimulatedResponse:
        folder = fields.get("uploadPath", "")
        if not folder:
            raise _BadUploadError("Missing required parameter: uploadPath (file upload path)")
        if not is_upload_path(folder):
            raise _BadUploadError("uploadPath must not begin or end with a slash")
        content_type = fields.get("contentType") or guess_type(fields.get("fileName", ""))
        name = fields.get("fileName") or self._invent_name(content_type)
        if "/" in name:
            raise _BadUploadError("fileName must not contain a slash")
        kept = self._kie.files.keep(draft, f"kieai/{account.user_id}/{folder}/{name}", content_type)
        data = kept.describe()
        envelope = {"success": True, "code": 200, "msg": "File uploaded successfully", "data": data}
        return SimulatedResponse("200", orjson.dumps(envelope), 200, _JSON_TYPE)

    def _invent_name(self, content_type: str) -> str:
        milliseconds = int(self._kie.clocks.epoch() * 1000)
        return f"{milliseconds}-{uuid.uuid4().hex[:10]}.{_NAME_PARTS.get(content_type, 'bin')}"


def upload_error(code: int, message: str = "") -> SimulatedResponse:
    """An error of the upload host: HTTP 200 with the code, and no ``data``, as recorded."""
    text = message or MESSAGES.get(code, "error")
    envelope = {"success": False, "code": code, "msg": text}
    return SimulatedResponse(str(code), orjson.dumps(envelope), 200, _JSON_TYPE)


def no_upload_route() -> SimulatedResponse:
    """The response of the upload host to a path that it does not have."""
    routes = ", ".join(f"POST {path}" for path in (BASE64_UPLOAD, STREAM_UPLOAD, URL_UPLOAD))
    envelope = {"success": False, "code": 404, "msg": f"Not found. Available: {routes}"}
    return SimulatedResponse("404", orjson.dumps(envelope), 404, _JSON_TYPE)


def _as_upload_error(reply: SimulatedResponse) -> SimulatedResponse:
    if not (reply.record_code.isascii() and reply.record_code.isdecimal()):
        return reply
    told = orjson.loads(reply.body) if reply.body.startswith(b"{") else {}
    return upload_error(int(reply.record_code), told.get("msg", ""))


async def _read_multipart(request: web.BaseRequest, draft: Path) -> dict[str, str]:
    if not request.content_type.startswith("multipart/"):
        raise _BadUploadError("Content-Type must be multipart/form-data")
    fields: dict[str, str] = {}
    try:
        async for part in await request.multipart():
            if not isinstance(part, aiohttp.BodyPartReader):
                raise _BadUploadError("a part within a part is not supported")
            if part.name != "file":
                fields[part.name or ""] = await part.text()
                continue
            fields["contentType"] = part.headers.get("Content-Type", "")
            await _write_part(part, draft)
    except (ValueError, AssertionError, RuntimeError) as error:
        raise _BadUploadError(f"the multipart body is malformed: {error}") from error
    if not draft.exists():
        raise _BadUploadError("Missing required parameter: file")
    return fields


async def _write_part(part: aiohttp.BodyPartReader, draft: Path) -> None:
    written = 0
    with draft.open("wb") as out:
        while chunk := await part.read_chunk(_CHUNK_BYTES):
            written += len(chunk)
            if written > _FILE_BYTES_MAX:
                raise _BadUploadError(f"the file is larger than {_FILE_BYTES_MAX} bytes")
            out.write(chunk)


async def _read_base64(request: web.BaseRequest, draft: Path) -> dict[str, str]:
    fields = await _read_fields(request)
    text = fields.pop("base64Data", "")
    if not text:
        raise _BadUploadError("Missing required parameter: base64Data")
    head = _DATA_URL.match(text)
    if head is not None:
        fields["contentType"] = head[1]
        text = text[head.end() :]
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _BadUploadError(f"base64Data is not base64: {error}") from error
    if len(content) > _BASE64_BYTES_MAX:
        raise _BadUploadError(f"the file is larger than {_BASE64_BYTES_MAX} bytes")
    draft.write_bytes(content)
    return fields


async def _read_url(request: web.BaseRequest, draft: Path, base_url: str) -> dict[str, str]:
    fields = await _read_fields(request)
    url = fields.pop("fileUrl", "")
    if not url:
        raise _BadUploadError("Missing required parameter: fileUrl (file download URL)")
    if url.startswith(FILE_HOST + "/"):
        url = base_url + url.removeprefix(FILE_HOST)
    timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            if answer.status != 200:
                raise _BadUploadError(f"Failed to download the file: HTTP {answer.status}")
            fields["contentType"] = answer.content_type
            with draft.open("wb") as out:
                async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                    out.write(chunk)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise _BadUploadError(f"Failed to download the file: {type(error).__name__}") from error
    if fields["contentType"] == UNKNOWN_TYPE:
        del fields["contentType"]
    return fields


async def _read_fields(request: web.BaseRequest) -> dict[str, str]:
    """Read a JSON object of texts. `request.read` refuses more than a megabyte."""
    body = bytearray()
    async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > _JSON_BYTES_MAX:
            raise _BadUploadError(f"the body is larger than {_JSON_BYTES_MAX} bytes")
    given = await asyncio.to_thread(_parse, bytes(body))
    if not isinstance(given, dict):
        raise _BadUploadError("Request body must be a JSON object")
    return {name: value for name, value in given.items() if isinstance(value, str)}


def _parse(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
