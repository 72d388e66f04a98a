"""Pauses of submits over HTTP, for operators and admins."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from producer.api.authentication import caller_actor
from producer.api.endpoint import JOB_BODY_BYTES, Call
from producer.api.requests.admin_bodies import parse_admin_body
from producer.api.requests.json_body import read_json_object
from producer.api.requests.pause_body import BrakeEnd, PauseStart
from producer.api.requests.query_parameters import QueryParameters
from producer.api.responses.http_errors import PauseNotFound
from producer.api.responses.json_response import json_response, list_response
from producer.list_pages import DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT, MAX_ROW_ID
from producer.pauses import pause_to_json
from shared.errors import NotFound

_ID_DIGITS_MAX = 19


async def list_pauses(call: Call) -> web.StreamResponse:
    """Return one page of pauses, newest first."""
    query = QueryParameters(call.request, ("active", "limit", "cursor"))
    active = query.one_of("active", ("true", "false"))
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    below = query.number("cursor", MAX_ROW_ID, 1, MAX_ROW_ID)
    query.raise_faults()
    pauses, next_below = await call.context.producer.pauses.page(
        below=below, limit=limit, is_active=None if active is None else active == "true"
    )
    return list_response("pauses", [pause_to_json(one) for one in pauses], next_below)


async def start_pause(call: Call) -> web.StreamResponse:
    """Pause submits and return the pause. A repeated request returns the same pause."""
    body = parse_admin_body(PauseStart, await read_json_object(call.request, JOB_BODY_BYTES))
    pause = await call.context.producer.pauses.pause(
        *(body.scope, body.value),
        reason=body.reason,
        until=body.until,
        for_seconds=body.for_seconds,
        actor=caller_actor(call),
    )
    return json_response(pause_to_json(pause))


async def end_brakes(call: Call) -> web.StreamResponse:
    """End the brakes of a Kie account and return them: an empty list if none was on."""
    body = parse_admin_body(BrakeEnd, await read_json_object(call.request, JOB_BODY_BYTES))
    ended = await call.context.producer.brakes.end(
        body.kie_account, body.model, reason=body.reason, actor=caller_actor(call)
    )
    return json_response({"ended": [asdict(one) for one in ended]})


async def resume_pause(call: Call) -> web.StreamResponse:
    """End a pause and return it. A pause that has ended is returned as it is."""
    text = call.request.match_info["id"]
    is_number = text.isascii() and text.isdigit() and len(text) <= _ID_DIGITS_MAX
    number = int(text) if is_number else 0
    if not 1 <= number <= MAX_ROW_ID:
        raise PauseNotFound(text)
    try:
        pause = await call.context.producer.pauses.resume(number, actor=caller_actor(call))
    except NotFound:
        raise PauseNotFound(text) from None
    return json_response(pause_to_json(pause))
