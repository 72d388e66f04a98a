"""Answers Kie's callbacks: check, store, 200 within milliseconds; the work comes after.

Kie waits 15 seconds for a 200 and gives up after three retries, so everything that takes time is
left to `worker.callbacks.callback_handler`, and a callback that was answered is in the inbox for
good.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from aiohttp import web
from pydantic import SecretStr

from shared.adapters.http.request_body import BODY_TIMEOUT_SECONDS, BodyFault, read_body
from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.postgres.database import Queries
from shared.errors import DarkroomError
from worker.callbacks.kie_signature import find_signature_fault
from worker.clock import Clock

BODY_BYTES_MAX = 64 * 1024
USUAL_BODY_BYTES = 8 * 1024
"""More than any callback that Kie documents."""
_TASK_ID_LENGTH_MAX = 200
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What `secrets.token_urlsafe` writes, of any length that it may have had."""
_TASKS_PER_TOKEN_MAX = 8
QUERIES_AT_ONCE = 4
"""Of a worker's ten connections to Postgres. A flood of callbacks leaves jobs the others."""

OnStored = Callable[[int], None]


class CallbackReceiver:
    """The route `POST /callbacks/kie/{token}`."""

    def __init__(
        self, queries: Queries, clock: Clock, hmac_key: SecretStr | None, received: OnStored
    ) -> None:
        self._queries = queries
        self._clock = clock
        self._hmac_key = hmac_key
        self._received = received
        self._slots = asyncio.Semaphore(QUERIES_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        """Return the one route."""
        return [web.post("/callbacks/kie/{token}", self._receive)]

    async def _receive(self, request: web.Request) -> web.Response:
        token = request.match_info["token"]
        if not _TOKEN.fullmatch(token):
            # None of ours looks so: no database need be asked, and some cannot even be asked for.
            return _refuse_unknown_token()
        if not await self._may_read_body(request, token):
            return _refuse_unknown_token()
        body = await read_body(request, BODY_BYTES_MAX)
        if isinstance(body, BodyFault):
            return _refuse_body(body)
        task_ids = _task_ids(body)
        if len(task_ids) != 1:
            return _refuse(400, "the body is not a callback: it must name one task")
        if self._hmac_key is not None:
            fault = find_signature_fault(
                self._hmac_key.get_secret_value(),
                task_ids[0],
                request.headers.get("X-Webhook-Timestamp", ""),
                request.headers.get("X-Webhook-Signature", ""),
                self._clock.now(),
            )
            if fault is not None:
                incidents.record_failure("callback_refused", "signature", fault)
                return _refuse(401, fault)
        return await self._store(token, task_ids[0])

    async def _may_read_body(self, request: web.Request, token: str) -> bool:
        """Return whether the body is worth reading: it is short, or the token is known.

        Parsing a body of a usual length takes a small part of the time of a query. Nothing longer
        is read for a token that no attempt has.
        """
        length = request.content_length
        if length is not None and length <= USUAL_BODY_BYTES:
            return True
        try:
            async with self._slots:
                return await self._queries.fetch_row("attempt_of_token", token) is not None
        except DarkroomError as error:
            incidents.record_outage(error, doing="store_callback")
            return True  # what cannot be stored is answered with 503, to be repeated

    async def _store(self, token: str, task_id: str) -> web.Response:
        try:
            async with self._slots:
                row = await self._queries.fetch_row(
                    "receive_callback", token, task_id, _TASKS_PER_TOKEN_MAX
                )
        except DarkroomError as error:
            # Not stored, so not a 200: Kie will say it again.
            incidents.record_outage(error, doing="store_callback")
            return _refuse(503, "cannot be stored now; please repeat")
        if row is None:
            return _refuse_unknown_token()
        incidents.record_recovery(POSTGRES)
        incidents.record_success("callback_refused", "signature")
        incidents.record_success("callback_for_nobody", "token")
        if row["times"] == 1 or row["is_handled"]:
            self._received(row["id"])
        return web.json_response({"code": 200, "msg": "success"})


def _task_ids(body: bytes) -> list[str]:
    """Return the task ids that stand in any of the three places where Kie's pages show one."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    return list(dict.fromkeys(_candidate_ids(parsed)))


def _candidate_ids(parsed: Any) -> Iterator[str]:
    if not isinstance(parsed, dict):
        return
    data = parsed.get("data")
    inner = data if isinstance(data, dict) else {}
    for value in (inner.get("taskId"), inner.get("task_id"), parsed.get("taskId")):
        if isinstance(value, str) and 0 < len(value) <= _TASK_ID_LENGTH_MAX and value.isprintable():
            yield value


def _refuse_unknown_token() -> web.Response:
    incidents.record_failure("callback_for_nobody", "token", "no attempt has this token")
    return _refuse(404, "no attempt has this token")


def _refuse_body(fault: BodyFault) -> web.Response:
    match fault:
        case BodyFault.TOO_LARGE:
            return _refuse(413, f"a callback has at most {BODY_BYTES_MAX} bytes")
        case BodyFault.TOO_SLOW:
            return _refuse(408, f"a callback must arrive within {BODY_TIMEOUT_SECONDS:g} s")
        case BodyFault.BROKEN_OFF:
            return _refuse(400, "the body broke off before its end")


def kie_style_refusal(
    _request: web.BaseRequest | None, status: int, _code: str, detail: str
) -> web.Response:
    """Return what the worker's listeners refuse themselves, in the form of Kie's own answers."""
    return _refuse(status, detail)


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"code": status, "msg": message}, status=status)
