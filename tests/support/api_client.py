"""An HTTP client of the API for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    body: Any
    """The JSON of the body, or None where there is none."""
    text: str = ""

    def expect(self, status: int) -> Any:
        """Return the body. Fails if the status differs."""
        assert self.status == status, f"{self.status}: {self.body}"
        return self.body

    def faults(self) -> dict[str, str]:
        """Return the faults of a 422 by field. Fails for other responses."""
        assert self.status == 422, f"{self.status}: {self.body}"
        assert self.headers["Content-Type"].startswith("application/problem+json")
        return {fault["field"]: fault["message"] for fault in self.body["errors"]}


class ApiClient:
    """A caller of the API, with or without a key."""

    def __init__(self, session: aiohttp.ClientSession, key: str | None = None) -> None:
        self.session = session
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def with_key(self, key: str) -> ApiClient:
        """Return the client with another key."""
        return ApiClient(self.session, key)

    async def get(self, path: str, **query: Any) -> ApiResponse:
        """Send a GET with this query."""
        return await self.send("GET", path, params={k: str(v) for k, v in query.items()})

    async def post(self, path: str, body: Any = None, **headers: str) -> ApiResponse:
        """POST this JSON; headers by their names with underscores."""
        return await self._send_json("POST", path, body, headers)

    async def put(self, path: str, body: Any) -> ApiResponse:
        """Send a PUT with this JSON."""
        return await self._send_json("PUT", path, body, {})

    async def _send_json(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> ApiResponse:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            given.setdefault("Content-Type", "application/json")
        data = None if body is None else orjson.dumps(body)
        return await self.send(method, path, data=data, headers=given)

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> ApiResponse:
        """Send any request."""
        given = {**self._headers, **(headers or {})}
        async with self.session.request(method, path, headers=given, **options) as response:
            raw = await response.read()
            body = orjson.loads(raw) if raw and "json" in response.content_type else None
            return ApiResponse(
                response.status, response.headers, body, raw.decode(errors="replace")
            )
