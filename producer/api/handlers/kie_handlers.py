"""What Kie says of its models and prices over HTTP."""

from __future__ import annotations

from aiohttp import web

from producer.api.endpoint import Call
from producer.api.requests.query_parameters import QueryParameters
from producer.api.responses.json_response import json_response
from producer.list_pages import DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT
from producer.monitoring.kie_models import (
    SURPRISE_DAYS,
    SURPRISE_DAYS_DEFAULT,
    compared_price_to_json,
    kie_model_to_json,
    kie_surprise_to_json,
)


async def list_kie_models(call: Call) -> web.StreamResponse:
    """Return what Kie's catalogue last said of each model."""
    QueryParameters(call.request, ()).raise_faults()
    models = await call.context.producer.kie.models()
    return json_response({"models": [kie_model_to_json(one) for one in models]})


async def list_kie_surprises(call: Call) -> web.StreamResponse:
    """Return what Kie's responses contained and no reader knows."""
    query = QueryParameters(call.request, ("days", "limit"))
    days = query.number("days", SURPRISE_DAYS_DEFAULT, 1, SURPRISE_DAYS)
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    query.raise_faults()
    surprises = await call.context.producer.kie.surprises(days, limit)
    return json_response({"surprises": [kie_surprise_to_json(one) for one in surprises]})


async def compare_prices(call: Call) -> web.StreamResponse:
    """Return each price beside what Kie's price texts name."""
    QueryParameters(call.request, ()).raise_faults()
    compared = await call.context.producer.kie.compare_prices()
    return json_response({"prices": [compared_price_to_json(one) for one in compared]})
