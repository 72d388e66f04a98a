"""A small server of the S3 protocol: objects, multipart uploads, signatures and lists.

It answers as S3 is documented to, checks the signature of every request, and can be told to fail.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape, unescape

from aiohttp import web
from aiohttp.test_utils import TestServer

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"
REGION = "us-east-1"
BUCKET = "pictures"
PART_BYTES_MIN = 5 * 1024 * 1024


class S3Fault(StrEnum):
    """What the server does instead of serving."""

    SLOW_DOWN = "slow down"
    """It answers 503."""
    SILENCE = "silence"
    """It takes the request and never answers."""
    READ_ONLY = "read only"
    """It refuses to write: 403."""
    CUT_OFF = "cut off"
    """It closes the connection without an answer."""


@dataclass(frozen=True, slots=True)
class S3Object:
    """One object of the bucket."""

    content: bytes
    content_type: str
    written_at: datetime

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'


@dataclass(slots=True)
class S3Server:
    """The server with its one bucket. Keys are of objects, without the bucket."""

    url: str = ""
    fault: S3Fault | None = None
    objects: dict[str, S3Object] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    """The key of every object that became visible, in order."""
    requests: list[str] = field(default_factory=list)
    """Method, key and the names of parameters of each request that was served."""
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    """The parts of unfinished multipart uploads, by their ids."""
    _types: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a client."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        body = await request.read()
        if self.fault is S3Fault.SILENCE:
            await asyncio.Event().wait()
        if self.fault is S3Fault.CUT_OFF and request.transport is not None:
            request.transport.abort()
            raise ConnectionResetError
        if self.fault is S3Fault.SLOW_DOWN:
            return _error(503, "SlowDown", "Please reduce your request rate.")
        refusal = _check_signature(request, body)
        if refusal is not None:
            return refusal
        if self.fault is S3Fault.READ_ONLY and request.method not in {"GET", "HEAD"}:
            return _error(403, "AccessDenied", "Access Denied")
        bucket, _, key = request.path.removeprefix("/").partition("/")
        if bucket != BUCKET:
            return _error(404, "NoSuchBucket", "The specified bucket does not exist")
        self.requests.append(" ".join([request.method, key, *_operation(request.query)]).strip())
        return self._serve(request, key, body)

    def _serve(self, request: web.Request, key: str, body: bytes) -> web.Response:
        query, method = request.query, request.method
        if not key and method == "GET":
            return self._list(query)
        if not key:
            return self._delete_all(re.findall("<Key>(.*?)</Key>", body.decode()))
        if method in {"GET", "HEAD"}:
            return self._get(key)
        if "uploads" in query or "uploadId" in query:
            return self._serve_upload(request, key, body)
        if method == "PUT":
            self._write(key, body, request.headers.get("Content-Type", ""))
            return web.Response(headers={"ETag": self.objects[key].etag})
        if method == "DELETE":
            self.objects.pop(key, None)
            return web.Response(status=204)
        return _error(405, "MethodNotAllowed", "No")

    def _delete_all(self, keys: list[str]) -> web.Response:
        for key in keys:
            self.objects.pop(unescape(key), None)
        rows = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        return _xml(f"<DeleteResult>{rows}</DeleteResult>")

    def _write(self, key: str, content: bytes, content_type: str) -> None:
        self.objects[key] = S3Object(content, content_type, datetime.now(UTC))
        self.writes.append(key)

    def _get(self, key: str) -> web.Response:
        found = self.objects.get(key)
        if found is None:
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        headers = {
            "ETag": found.etag,
            "Last-Modified": f"{found.written_at:%a, %d %b %Y %H:%M:%S GMT}",
            "Content-Type": found.content_type,
            "Content-Length": str(len(found.content)),
        }
        return web.Response(body=found.content, headers=headers)

    def _list(self, query: Mapping[str, str]) -> web.Response:
        prefix = query.get("prefix", "")
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(one.content)}</Size>"
            f"<LastModified>{one.written_at:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f"<ETag>{escape(one.etag)}</ETag></Contents>"
            for key, one in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return _xml(f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>")

    def _serve_upload(self, request: web.Request, key: str, body: bytes) -> web.Response:
        query, method = request.query, request.method
        if method == "POST" and "uploads" in query:
            upload_id = f"upload-{len(self.requests)}"
            self.uploads[upload_id] = {}
            self._types[upload_id] = request.headers.get("Content-Type", "")
            return _xml(
                "<InitiateMultipartUploadResult>"
                f"<UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
            )
        parts = self.uploads.get(query["uploadId"])
        if parts is None:
            return _error(404, "NoSuchUpload", "The specified upload does not exist.")
        if method == "PUT":
            parts[int(query["partNumber"])] = body
            digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
            return web.Response(headers={"ETag": f'"{digest}"'})
        del self.uploads[query["uploadId"]]
        if method == "DELETE":
            return web.Response(status=204)
        ordered = [parts[number] for number in sorted(parts)]
        if any(len(part) < PART_BYTES_MIN for part in ordered[:-1]):
            return _error(400, "EntityTooSmall", "Your proposed upload is too small")
        self._write(key, b"".join(ordered), self._types[query["uploadId"]])
        return _xml(
            "<CompleteMultipartUploadResult>"
            f"<ETag>{escape(self.objects[key].etag)}</ETag></CompleteMultipartUploadResult>"
        )


@asynccontextmanager
async def running_s3_server() -> AsyncIterator[S3Server]:
    """Run a server with an empty bucket."""
    s3 = S3Server()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", s3.answer)
    server = TestServer(app)
    # A request that is never answered is not waited for.
    await server.start_server(shutdown_timeout=0.1)
    s3.url = str(server.make_url("")).rstrip("/")
    try:
        yield s3
    finally:
        await server.close()


def _operation(query: Mapping[str, str]) -> list[str]:
    return sorted(name for name in query if not name.startswith("X-Amz-"))


def _xml(text: str, status: int = 200) -> web.Response:
    declared = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'
    return web.Response(status=status, text=declared, content_type="application/xml")


def _error(status: int, code: str, message: str) -> web.Response:
    return _xml(f"<Error><Code>{code}</Code><Message>{message}</Message></Error>", status)


# --- signatures ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Signature:
    """What a request says of its signature, version 4, in its headers or its query."""

    credential: str
    signed_headers: str
    signature: str
    signed_at: str
    content_hash: str
    lives_seconds: int | None

    @classmethod
    def of(cls, request: web.Request) -> _Signature | None:
        query, header = request.query, request.headers.get("Authorization", "")
        if "X-Amz-Signature" in query:
            return cls(
                query["X-Amz-Credential"],
                query["X-Amz-SignedHeaders"],
                query["X-Amz-Signature"],
                query["X-Amz-Date"],
                "UNSIGNED-PAYLOAD",
                int(query["X-Amz-Expires"]),
            )
        if not header.startswith("AWS4-HMAC-SHA256 "):
            return None
        fields: dict[str, Any] = dict(
            part.strip().split("=", 1) for part in header.split(" ", 1)[1].split(",")
        )
        return cls(
            fields["Credential"],
            fields["SignedHeaders"],
            fields["Signature"],
            request.headers["X-Amz-Date"],
            request.headers["X-Amz-Content-Sha256"],
            None,
        )


def _check_signature(request: web.Request, body: bytes) -> web.Response | None:
    """Return the refusal of a request that is not signed as it must be."""
    signed = _Signature.of(request)
    if signed is None:
        return _error(403, "AccessDenied", "Access Denied")
    key_id, day, region, service, kind = signed.credential.split("/")
    if key_id != ACCESS_KEY:
        return _error(403, "InvalidAccessKeyId", "The Access Key Id does not exist in our records.")
    if signed.content_hash not in {"UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()}:
        return _error(400, "XAmzContentSHA256Mismatch", "The provided hash does not match.")
    if signed.lives_seconds is not None:
        begin = datetime.strptime(signed.signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if datetime.now(UTC) > begin + timedelta(seconds=signed.lives_seconds):
            return _error(403, "AccessDenied", "Request has expired")
    scope = f"{day}/{region}/{service}/{kind}"
    digest = hashlib.sha256(_canonical_request(request, signed).encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{signed.signed_at}\n{scope}\n{digest}"
    secret = f"AWS4{SECRET_KEY}".encode()
    for part in (day, region, service, kind):
        secret = hmac.digest(secret, part.encode(), "sha256")
    expected = hmac.digest(secret, text.encode(), "sha256").hex()
    if not hmac.compare_digest(expected, signed.signature):
        return _error(403, "SignatureDoesNotMatch", "The signature does not match.")
    return None


def _canonical_request(request: web.Request, signed: _Signature) -> str:
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in request.query.items()
        if name != "X-Amz-Signature"
    )
    names = signed.signed_headers.split(";")
    headers = "".join(f"{name}:{request.headers.get(name, '').strip()}\n" for name in names)
    return "\n".join(
        [
            request.method,
            quote(request.path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            headers,
            signed.signed_headers,
            signed.content_hash,
        ]
    )
