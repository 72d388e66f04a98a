"""JSON responses: one object, or one page of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web

from shared.adapters.http.slow_readers import PacedResponse


def json_response(
    body: Any, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """Return the body as a JSON response."""
    return PacedResponse(
        body=orjson.dumps(body), status=status, content_type="application/json", headers=headers
    )


def list_response(name: str, items: Sequence[Any], next_id: object) -> web.Response:
    """Return one page of a list as a response.

    `name` is the member that holds `items`. `next_id` becomes `next_cursor`; None means that this
    is the last page.
    """
    cursor = str(next_id) if next_id is not None else None
    return json_response({name: items, "next_cursor": cursor})
