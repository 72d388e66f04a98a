"""Reads the parts of a request one by one, and raises the faults of all of them together."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from shared.errors import Fault, InvalidRequest
from shared.field_faults import format_value

KEY_PATTERN = r"^[!-~]([ -~]*[!-~])?$"
"""Headers carry only ASCII safely, and lose leading and trailing spaces."""
_Part = TypeVar("_Part")


class RequestParts:
    """Collects the faults of headers and query until the body has been read."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def read(self, reader: Callable[[], _Part], default: _Part) -> _Part:
        """Return what the reader returns. If it raises `InvalidRequest`, return the default."""
        try:
            return reader()
        except InvalidRequest as refused:
            self._faults += refused.faults
            return default

    def read_last(self, reader: Callable[[], _Part]) -> _Part:
        """Return what the reader returns. Raises `InvalidRequest` with the faults of all parts."""
        try:
            part = reader()
        except InvalidRequest as refused:
            raise InvalidRequest([*self._faults, *refused.faults]) from None
        if self._faults:
            raise InvalidRequest(self._faults)
        return part


def read_idempotency_key(request: web.Request, longest: int) -> str | None:
    """Return the key of the request's header, or None without one. Raises `InvalidRequest`."""
    keys = request.headers.getall("Idempotency-Key", [])
    if len(keys) > 1:
        raise InvalidRequest([Fault("Idempotency-Key", "is given more than once")])
    if keys and not (len(keys[0]) <= longest and re.fullmatch(KEY_PATTERN, keys[0])):
        sentence = f"must be 1 to {longest} printable ASCII characters, not {format_value(keys[0])}"
        raise InvalidRequest([Fault("Idempotency-Key", sentence)])
    return keys[0] if keys else None
