"""Reads the parts of a request one by one, and tells the faults of all of them together."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from darkroom_client.generated.models import JobFields
from darkroom_client.testing.checks.field_checks import Fault, shown
from darkroom_client.testing.http_server import MemoryRequest
from darkroom_client.testing.problem import Refusal, invalid_request

T = TypeVar("T")

WAIT_MAX = 60.0
_JOB_FIELDS = tuple(one.name for one in fields(JobFields))


class RequestParts:
    """Collects the faults of headers and query until the body has been read."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def read(self, reader: Callable[[], T], default: T) -> T:
        """Return what the reader returns. If it refuses the request, return the default."""
        try:
            return reader()
        except Refusal as refused:
            self._faults += faults_of(refused)
            return default

    def read_last(self, reader: Callable[[], T]) -> T:
        """Return what the reader returns. Refuses the request with the faults of all parts."""
        try:
            part = reader()
        except Refusal as refused:
            raise invalid_request([*self._faults, *faults_of(refused)]) from None
        if self._faults:
            raise invalid_request(self._faults)
        return part


def faults_of(refused: Refusal) -> list[Fault]:
    """Return the faults of an invalid request. Raises any other refusal again."""
    if refused.code != "invalid_request":
        raise refused
    return [Fault(one["field"], one["message"]) for one in refused.body["errors"]]


def read_key(request: MemoryRequest, longest: int) -> str | None:
    """Return the idempotency key of the header, or None without one."""
    keys = request.idempotency_keys
    if len(keys) > 1:
        raise invalid_request([Fault("Idempotency-Key", "is given more than once")])
    if not keys:
        return None
    [key] = keys
    if not (0 < len(key) <= longest and key.isascii() and key.isprintable()):
        message = f"must be 1 to {longest} printable ASCII characters, not {shown(key)}"
        raise invalid_request([Fault("Idempotency-Key", message)])
    return key


def read_check_images(request: MemoryRequest) -> None:
    """Refuse another query than `check_images`. Here no image is requested."""
    faults = query_faults(request, ("check_images",))
    text = request.query.get("check_images", "true")
    if text not in {"true", "false"}:
        faults.append(Fault("check_images", f"{shown(text)} must be one of true, false"))
    if faults:
        raise invalid_request(faults)


def read_wait(request: MemoryRequest) -> tuple[float, Collection[str] | None]:
    """Return how long to wait for a job, and the fields to show, or None for all."""
    faults = query_faults(request, ("wait", "fields"))
    text = request.query.get("wait")
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= WAIT_MAX or text == "":
        faults.append(Fault("wait", f"{shown(text)} must be seconds from 0 to {WAIT_MAX:g}"))
    faults += field_faults(request.query)
    names = request.query.get("fields")
    if faults:
        raise invalid_request(faults)
    return seconds, None if names is None else names.split(",")


def field_faults(query: Mapping[str, str]) -> list[Fault]:
    """Return what is wrong with the parameter `fields`."""
    given = query["fields"].split(",") if "fields" in query else []
    unknown = next((one for one in given if one not in _JOB_FIELDS), None)
    if unknown is None:
        return []
    allowed = ", ".join(_JOB_FIELDS)
    return [Fault("fields", f"{shown(unknown)} is none of them; allowed: {allowed}")]


def query_faults(request: MemoryRequest, allowed: Collection[str]) -> list[Fault]:
    """Return the faults of parameters that are not allowed, or given more than once."""
    names = ", ".join(allowed) or "none"
    return [
        *(
            Fault(name, f"is not a parameter here; allowed: {names}")
            for name in request.query
            if name not in allowed
        ),
        *(Fault(name, "is given more than once") for name in allowed if name in request.repeated),
    ]


def read_json(request: MemoryRequest) -> dict[str, Any]:
    """Return the JSON object of a body, or refuse it."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if content_type != "application/json":
        given = content_type or "no Content-Type"
        raise Refusal(
            "unsupported_content",
            f"the body must be sent as Content-Type: application/json, not {given}",
        )
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise Refusal("malformed_request", f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refusal("malformed_request", f"the body must be a JSON object, not {shown(body)}")
    return body


def require_account(request: MemoryRequest, account_id: str) -> None:
    """Refuse a request for another account than that of its key."""
    if account_id != request.account_id:
        raise Refusal("forbidden", f"this key is for the account {request.account_id!r} alone")
