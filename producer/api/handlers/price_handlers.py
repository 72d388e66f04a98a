"""Previews, history and scheduled changes of prices over HTTP."""

from __future__ import annotations

from decimal import Decimal

from aiohttp import web

from producer.api.authentication import caller_actor
from producer.api.endpoint import JOB_BODY_BYTES, Call
from producer.api.requests.admin_bodies import (
    PriceChange,
    ScheduledPriceOrder,
    parse_admin_body,
)
from producer.api.requests.json_body import read_json_object
from producer.api.requests.query_parameters import QueryParameters
from producer.api.requests.request_parts import RequestParts
from producer.api.responses.http_errors import PriceNotFound
from producer.api.responses.json_response import json_response
from producer.list_pages import DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT, MAX_ROW_ID
from producer.money.price_changes import preview_to_json
from producer.money.price_key import VARIANT_MAX, PriceKey
from producer.plain_numbers import CREDITS_MAX
from producer.row_json import row_to_json
from shared.errors import PriceMissing, ScheduledPriceNotFound

MAX_QUANTITY = 999_999_999
PREVIEW_PARAMETERS = ("credits", "provider_credits")


async def list_prices(call: Call) -> web.StreamResponse:
    """Return every row of `pricing`."""
    QueryParameters(call.request, ()).raise_faults()
    return json_response(
        {"prices": [row_to_json(row) for row in await call.context.billing.prices()]}
    )


async def change_price(call: Call) -> web.StreamResponse:
    """Change a price and return it. Responds 404 if `pricing` has no such row."""
    body = await read_json_object(call.request, JOB_BODY_BYTES)
    query = QueryParameters(call.request, ("variant",))
    key = _price_key(call, query)
    parts = RequestParts()
    parts.read(query.raise_faults, None)
    change = parts.read_last(lambda: parse_admin_body(PriceChange, body))
    try:
        row = await call.context.billing.price_changes.change(
            key,
            _decimal(change.credits),
            provider_credits=_optional_decimal(change.provider_credits),
            reason=change.reason.strip(),
            confirmed=change.confirm,
            from_price_id=change.price_id,
            actor=caller_actor(call),
        )
    except PriceMissing as missing:
        raise _not_found(missing) from None
    return json_response(row_to_json(row))


async def preview_price(call: Call) -> web.StreamResponse:
    """Return what a change of a price would do. Changes nothing."""
    query = QueryParameters(call.request, ("variant", *PREVIEW_PARAMETERS))
    key = _price_key(call, query)
    credits, cost = (query.credits(name, CREDITS_MAX) for name in PREVIEW_PARAMETERS)
    query.raise_faults()
    try:
        preview = await call.context.producer.preview_price(
            *key[:3], credits, cost, variant=key.variant
        )
    except PriceMissing as missing:
        raise _not_found(missing) from None
    return json_response(preview_to_json(preview))


async def list_history(call: Call) -> web.StreamResponse:
    """Return versions of prices, newest first."""
    query = QueryParameters(call.request, ("limit",))
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    query.raise_faults()
    versions = await call.context.billing.price_history(limit)
    return json_response({"versions": [row_to_json(row) for row in versions]})


async def list_scheduled(call: Call) -> web.StreamResponse:
    """Return the changes that wait for their time, and then those that do not any more."""
    query = QueryParameters(call.request, ("limit",))
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    query.raise_faults()
    rows = await call.context.billing.price_changes.list_scheduled(limit=limit, with_settled=True)
    return json_response({"scheduled_prices": [row_to_json(row) for row in rows]})


async def schedule_price(call: Call) -> web.StreamResponse:
    """Schedule a change of a price and return it. Responds 404 if there is no such price."""
    body = await read_json_object(call.request, JOB_BODY_BYTES)
    order = parse_admin_body(ScheduledPriceOrder, body)
    try:
        row = await call.context.billing.price_changes.schedule(
            PriceKey(order.model, order.task, order.quantity, order.variant),
            _decimal(order.credits),
            provider_credits=_optional_decimal(order.provider_credits),
            at=order.takes_effect_at,
            reason=order.reason.strip(),
            confirmed=order.confirm,
            actor=caller_actor(call),
        )
    except PriceMissing as missing:
        raise _not_found(missing) from None
    return json_response(row_to_json(row))


async def revoke_scheduled(call: Call) -> web.StreamResponse:
    """Revoke a change before its time and return it."""
    text = call.request.match_info["id"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    if not 1 <= number <= MAX_ROW_ID:
        raise ScheduledPriceNotFound(0)
    row = await call.context.billing.price_changes.unschedule(number, actor=caller_actor(call))
    return json_response(row_to_json(row))


def _price_key(call: Call, query: QueryParameters) -> PriceKey:
    model, task, number = (call.request.match_info[part] for part in ("model", "task", "quantity"))
    quantity = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0
    if not 1 <= quantity <= MAX_QUANTITY:
        raise PriceNotFound(model, task, number)
    return PriceKey(model, task, quantity, query.text("variant", VARIANT_MAX, 0) or "")


def _not_found(missing: PriceMissing) -> PriceNotFound:
    return PriceNotFound(
        missing.model,
        missing.task,
        str(missing.quantity),
        variant=missing.variant,
        priced=missing.priced,
    )


def _decimal(number: float) -> Decimal:
    return Decimal(str(number))


def _optional_decimal(number: float | None) -> Decimal | None:
    return None if number is None else _decimal(number)
