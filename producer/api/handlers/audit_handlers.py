"""The audit entries over HTTP, for admins, and the logins to the console."""

from __future__ import annotations

from aiohttp import web

from producer.actor import MAX_REASON_LENGTH
from producer.api.authentication import caller_actor
from producer.api.endpoint import Call
from producer.api.requests.query_parameters import QueryParameters
from producer.api.responses.http_errors import SessionNotFound
from producer.api.responses.json_response import json_response, list_response
from producer.audit_entries import Act
from producer.job_ids import read_uuid
from producer.keys.roles import Role
from producer.list_pages import DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT, MAX_ROW_ID
from producer.orders.field_limits import ACCOUNT_LENGTH
from producer.row_json import row_to_json
from shared.errors import NotFound


async def list_entries(call: Call) -> web.StreamResponse:
    """Return one page of audit entries, newest first."""
    query = QueryParameters(
        call.request, ("act", "account_id", "job_id", "actor", "limit", "cursor")
    )
    act = query.one_of("act", [act.value for act in Act])
    account_id = query.text("account_id", ACCOUNT_LENGTH)
    job_id = query.job_id("job_id", "the id of a job")
    actor = query.text("actor", MAX_REASON_LENGTH)
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    below = query.number("cursor", MAX_ROW_ID, 1, MAX_ROW_ID)
    query.raise_faults()
    page = await call.context.billing.audit_page(
        act=act,
        account_id=account_id,
        job_id=job_id,
        actor=actor,
        below=below,
        limit=limit,
    )
    entries = [row_to_json(row) for row in page.entries]
    return list_response("entries", entries, page.next_below)


async def list_sessions(call: Call) -> web.StreamResponse:
    """Return the newest sessions: of all keys for an admin, else of the caller's own key."""
    query = QueryParameters(call.request, ("ended",))
    with_ended = query.one_of("ended", ("true", "false")) == "true"
    query.raise_faults()
    sessions = await call.context.sessions.list(_own_key(call), with_ended=with_ended)
    return json_response({"sessions": [row_to_json(one) for one in sessions]})


async def end_session(call: Call) -> web.StreamResponse:
    """End a session and return it. Admins end every session, others those of their own key."""
    text = call.request.match_info["id"]
    session_id = read_uuid(text)
    if session_id is None:
        raise SessionNotFound(text)
    try:
        ended = await call.context.sessions.end(
            session_id, actor=caller_actor(call), key_prefix=_own_key(call)
        )
    except NotFound:
        raise SessionNotFound(text) from None
    return json_response(row_to_json(ended))


def _own_key(call: Call) -> str | None:
    return None if call.caller.role is Role.ADMIN else call.caller.key_prefix
