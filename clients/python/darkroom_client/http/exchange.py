"""Turns calls into HTTP requests and responses into answers or errors, for both clients."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import httpx2

from darkroom_client.errors import ApiError, ConnectionFailed, DarkroomError, UnexpectedAnswer
from darkroom_client.generated.problems import BY_CODE
from darkroom_client.http.calls import Call
from darkroom_client.http.retries import RetryPolicy

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 45.0
"""A stream sends something every 15 s. After this long without, its connection is dead."""


@dataclass(frozen=True)
class Exchange:
    """How one client sends its calls."""

    url: str
    key: str | None = field(repr=False)
    timeout_seconds: float
    retries: RetryPolicy

    def __post_init__(self) -> None:
        """Raise `ValueError` for a URL or a key that no request can carry."""
        try:
            url = httpx2.URL(self.url)
        except httpx2.InvalidURL as error:
            raise ValueError(f"url: {self.url!r:.100} is no URL: {error}") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError(f"url: {self.url!r:.100} must begin with http:// or https://")
        if url.query or url.fragment or url.userinfo:
            raise ValueError("url: must have no user name, query or fragment; give the key apart")
        if self.key is not None and not (self.key.isascii() and self.key.isprintable()):
            raise ValueError("key: must be printable ASCII, as `darkroom keys create` printed it")

    def request(self, call: Call[Any]) -> dict[str, Any]:
        """Return the arguments of the request, as `httpx2` takes them."""
        headers = self.headers()
        if call.content is not None:
            headers["Content-Type"] = call.content_type
        if call.idempotency_key is not None:
            headers["Idempotency-Key"] = call.idempotency_key
        return {
            "method": call.method,
            "url": self.address(call.path),
            "params": dict(call.query),
            "content": call.content,
            "headers": headers,
            "timeout": self.timeout(call.wait_seconds + self.timeout_seconds),
        }

    def address(self, path: str) -> str:
        """Return the address of a path, below the sub-path of the URL if it has one."""
        return self.url.rstrip("/") + path

    def headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        given = {"User-Agent": f"darkroom-client/{_version()}", "Accept-Encoding": "identity"}
        return {**given, "Authorization": f"Bearer {self.key}"} if self.key else given

    def timeout(self, seconds: float) -> httpx2.Timeout:
        """Return how long to wait for each part of an answer, once there is a connection."""
        # Many waits of one client share its connections, each for its turn.
        return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS), pool=None)

    def pause_seconds(self, call: Call[Any], error: Exception, failures: int) -> float:
        """Return the pause before the call is sent again. Raises the error if it is not."""
        pause = self.retries.pause_seconds(error, failures) if call.is_repeatable else None
        if pause is None:
            raise error
        return pause


def read_response(call: Call[T], response: httpx2.Response) -> T:
    """Return the answer. Raises the error of `problems` for a refusal, `UnexpectedAnswer`."""
    if not response.is_success:
        raise problem_of(response)
    try:
        return call.read(response.text if call.reads_text else response.json())
    except (ValueError, KeyError, TypeError) as error:
        raise UnexpectedAnswer(
            f"{call.method} {call.path}: status {response.status_code} with {response.text!r:.100}"
        ) from error


def read_content(response: httpx2.Response) -> bytes:
    """Return the bytes of a download. Raises the error of `problems` for a refusal."""
    if not response.is_success:
        raise problem_of(response)
    return response.content


def problem_of(response: httpx2.Response) -> ApiError:
    """Return the error of a response whose body has been read."""
    try:
        body = json.loads(response.content)
    except ValueError:
        body = None  # not from Darkroom: a proxy in between
    found: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    if response.is_redirect:
        address = response.headers["Location"].partition("?")[0]
        found = {"detail": f"redirected to {address}: give the client that URL"}
    kind = BY_CODE.get(str(found.get("type", "")).rpartition(":")[2], ApiError)
    asked = response.headers.get("Retry-After", "")
    return kind(
        response.status_code,
        found,
        retry_after_seconds=float(asked) if asked.isascii() and asked.isdigit() else None,
        request_id=response.headers.get("X-Request-Id"),
    )


def connection_failed(error: Exception) -> DarkroomError:
    """Return our error for one of the HTTP library."""
    return ConnectionFailed(f"{type(error).__name__}: {error}".rstrip(": "))


def _version() -> str:
    try:
        return version("darkroom-client")
    except PackageNotFoundError:
        return "0"
