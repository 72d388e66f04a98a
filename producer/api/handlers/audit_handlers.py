"""The audit entries over HTTP, for admins."""

from __future__ import annotations

from aiohttp import web

from producer.actor import MAX_REASON_LENGTH
from producer.api.endpoint import Call
from producer.api.requests.query_parameters import QueryParameters
from producer.api.responses.json_response import list_response
from producer.audit_entries import Act
from producer.list_pages import DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT, MAX_ROW_ID
from producer.orders.field_limits import ACCOUNT_LENGTH
from producer.row_json import row_to_json


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
