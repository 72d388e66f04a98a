"""The HTTP route for Kie's callbacks: check, store, answer 200.

Kie waits 15 s for a 200 and gives up after three retries. So everything that takes time is left to
`worker.callbacks.callback_handler`, and a callback that was answered is in the inbox for good.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import orjson
from aiohttp import web
from pydantic import SecretStr

from shared.adapters.http.request_body import BODY_TIMEOUT_SECONDS, BodyFault, read_body
from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.postgres.database import Queries
from shared.domain.callback_url import PROBE_ROUTE, ROUTE, probe_answer
from shared.errors import DarkroomError
from worker.callbacks.kie_signature import find_signature_fault
from worker.dependencies import Clock

BODY_BYTES_MAX = 1024 * 1024
"""A callback of the Market contains the request as JSON text inside JSON text inside JSON: a prompt
of 20,000 quotation marks becomes 160,000 characters. The same limit as for a response."""
USUAL_BODY_BYTES = 8 * 1024
"""Longer than a callback with a prompt of usual length."""
_TASK_ID_LENGTH_MAX = 200
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""The alphabet of `secrets.token_urlsafe`. The length has changed between versions."""
_TASKS_PER_TOKEN_MAX = 8
QUERIES_AT_ONCE = 4
"""Of the ten connections of a worker to Postgres. A flood of callbacks leaves the others
to jobs."""

OnStored = Callable[[int], None]


class CallbackReceiver:
    """The route `POST /callbacks/kie/{token}`, and the probe of the doctor."""

    def __init__(
        self,
        queries: Queries,
        clock: Clock,
        hmac_key: SecretStr | None,
        received: OnStored,
        *,
        process_id: UUID | None = None,
    ) -> None:
        self._queries = queries
        self._clock = clock
        self._hmac_key = hmac_key
        self._received = received
        self._process_id = process_id or uuid4()
        self._slots = asyncio.Semaphore(QUERIES_AT_ONCE)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.post(PROBE_ROUTE, self._answer_probe), web.post(ROUTE, self._receive)]

    async def _answer_probe(self, request: web.Request) -> web.Response:
        """Prove to the doctor which process this is. Uses no statement."""
        body = await read_body(request, USUAL_BODY_BYTES)
        if isinstance(body, BodyFault):
            return _refuse_body(body)
        try:
            nonce = orjson.loads(body)["probe"]
        except (orjson.JSONDecodeError, LookupError, TypeError):
            nonce = None
        if not isinstance(nonce, str) or not _TOKEN.fullmatch(nonce):
            return _refuse(400, "the body is not a probe")
        return web.json_response({"code": 200, "worker": probe_answer(self._process_id, nonce)})

    async def _receive(self, request: web.Request) -> web.Response:
        token = request.match_info["token"]
        if not _TOKEN.fullmatch(token):
            # No token of ours has this form, and Postgres cannot even be queried for some of them.
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
        """Return whether to read the body: it is short, or the token is known.

        To parse a short body takes a small part of the time of a query. A longer body is read only
        for a token that an attempt has.
        """
        length = request.content_length
        if length is not None and length <= USUAL_BODY_BYTES:
            return True
        try:
            async with self._slots:
                return await self._queries.fetch_row("attempt_of_token", token) is not None
        except DarkroomError as error:
            incidents.record_outage(error, doing="store_callback")
            return True  # where it cannot be stored, the answer is 503, and Kie repeats it

    async def _store(self, token: str, task_id: str) -> web.Response:
        try:
            async with self._slots:
                row = await self._queries.fetch_row(
                    "receive_callback", token, task_id, _TASKS_PER_TOKEN_MAX
                )
        except DarkroomError as error:
            # It is not stored, so Kie must repeat it.
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
    """Return the task ids in the three places where Kie's documentation has one."""
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
    """Return a response of the worker's ports in the form of Kie's own responses."""
    return _refuse(status, detail)


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"code": status, "msg": message}, status=status)
