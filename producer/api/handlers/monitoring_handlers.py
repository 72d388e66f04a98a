"""The overview of the queue, its history, lost writes, and how long data is kept, over HTTP."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from producer.api.authentication import caller_actor
from producer.api.endpoint import JOB_BODY_BYTES, Call
from producer.api.requests.admin_bodies import parse_admin_body
from producer.api.requests.json_body import read_json_object
from producer.api.requests.operator_bodies import AlertAcknowledgement
from producer.api.requests.query_parameters import QueryParameters
from producer.api.responses.json_response import json_response
from producer.list_pages import MAX_WAITING_LIMIT, WAITING_LIMIT
from producer.monitoring.alert_evidence import acknowledgement_to_json, lost_writes_to_json
from producer.monitoring.history import (
    HISTORY_HOURS_DEFAULT,
    HISTORY_HOURS_MAX,
    history_to_json,
)
from producer.monitoring.overview import overview_to_json
from producer.retention.pruning import PRUNE_SECONDS, prunable_to_json
from producer.waiting.waiting_table import waiting_table, waiting_to_json


async def show_overview(call: Call) -> web.StreamResponse:
    """Return the overview of the queue."""
    QueryParameters(call.request, ()).raise_faults()
    return json_response(overview_to_json(await call.context.producer.overview()))


async def show_waiting(call: Call) -> web.StreamResponse:
    """Return which accounts wait, and when the backlog ends."""
    query = QueryParameters(call.request, ("limit",))
    limit = query.number("limit", WAITING_LIMIT, 1, MAX_WAITING_LIMIT)
    query.raise_faults()
    snapshot = await call.context.producer.waiting.snapshot()
    return json_response(waiting_to_json(waiting_table(snapshot, limit)))


async def show_history(call: Call) -> web.StreamResponse:
    """Return the history of the queue."""
    query = QueryParameters(call.request, ("hours",))
    hours = query.number("hours", HISTORY_HOURS_DEFAULT, 1, HISTORY_HOURS_MAX)
    query.raise_faults()
    return json_response(history_to_json(await call.context.producer.history(hours)))


async def show_lost_writes(call: Call) -> web.StreamResponse:
    """Return what Postgres has lost."""
    QueryParameters(call.request, ()).raise_faults()
    return json_response(
        lost_writes_to_json(await call.context.producer.alert_evidence.lost_writes())
    )


async def acknowledge_alert(call: Call) -> web.StreamResponse:
    """Delete the evidence of an alert, and return how much there was: 0 if there was none."""
    body = parse_admin_body(
        AlertAcknowledgement, await read_json_object(call.request, JOB_BODY_BYTES)
    )
    done = await call.context.producer.alert_evidence.acknowledge(
        body.name, actor=caller_actor(call)
    )
    return json_response(acknowledgement_to_json(done))


async def show_retention(call: Call) -> web.StreamResponse:
    """Return what a prune would delete."""
    QueryParameters(call.request, ()).raise_faults()
    return json_response({"kinds": await _prunable(call)})


async def prune_data(call: Call) -> web.StreamResponse:
    """Delete what is older than its days as far as a few seconds allow, and return how much."""
    QueryParameters(call.request, ()).raise_faults()
    pruned = await call.context.producer.pruning.prune(
        call.context.retention, actor=caller_actor(call), within_seconds=PRUNE_SECONDS
    )
    return json_response({"pruned": pruned, "kinds": await _prunable(call)})


async def _prunable(call: Call) -> list[dict[str, Any]]:
    days = call.context.retention
    found = await call.context.producer.pruning.preview(days)
    return [{**prunable_to_json(one), "days": days[one.kind]} for one in found]
