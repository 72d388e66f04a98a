"""Prices, accounts and the ledger over HTTP."""

from __future__ import annotations

from decimal import Decimal

from aiohttp import web

from producer.api.authentication import caller_actor, require_account
from producer.api.endpoint import JOB_BODY_BYTES, Call
from producer.api.requests.admin_bodies import Grant, PriceChange, parse_admin_body
from producer.api.requests.json_body import read_json_object
from producer.api.requests.query_parameters import QueryParameters
from producer.api.responses.http_errors import PriceNotFound
from producer.api.responses.json_response import json_response, list_response
from producer.list_pages import DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT, MAX_ROW_ID
from producer.row_json import account_to_json, row_to_json
from shared.errors import PriceMissing

MAX_QUANTITY = 999_999_999


async def list_prices(call: Call) -> web.StreamResponse:
    """Return every row of `pricing`."""
    QueryParameters(call.request, ()).raise_faults()
    return json_response(
        {"prices": [row_to_json(row) for row in await call.context.billing.prices()]}
    )


async def change_price(call: Call) -> web.StreamResponse:
    """Change a price and return it. Responds 404 if `pricing` has no such row."""
    body = await read_json_object(call.request, JOB_BODY_BYTES)
    change = parse_admin_body(PriceChange, body)
    model, task, number = (call.request.match_info[part] for part in ("model", "task", "quantity"))
    quantity = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0
    if not 1 <= quantity <= MAX_QUANTITY:
        raise PriceNotFound(model, task, number)
    try:
        row = await call.context.billing.set_price(
            (model, task, quantity),
            Decimal(str(change.credits)),
            reason=change.reason.strip(),
            actor=caller_actor(call),
        )
    except PriceMissing:
        raise PriceNotFound(model, task, number) from None
    return json_response(row_to_json(row))


async def show_account(call: Call) -> web.StreamResponse:
    """Return the balance, the held and the available credits of an account."""
    QueryParameters(call.request, ()).raise_faults()
    account = await call.context.billing.account(_account_id(call))
    return json_response(account_to_json(account))


async def list_ledger(call: Call) -> web.StreamResponse:
    """Return one page of an account's ledger entries, newest first."""
    query = QueryParameters(call.request, ("limit", "cursor"))
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    below = query.number("cursor", MAX_ROW_ID, 1, MAX_ROW_ID)
    query.raise_faults()
    page = await call.context.billing.ledger_page(_account_id(call), below, limit)
    entries = [row_to_json(row) for row in page.entries]
    return list_response("entries", entries, page.next_below)


async def grant(call: Call) -> web.StreamResponse:
    """Grant credits, or take them if negative, and return the account."""
    body = await read_json_object(call.request, JOB_BODY_BYTES)
    given = parse_admin_body(Grant, body)
    credits = Decimal(str(given.credits))
    account = await call.context.billing.grant(
        _account_id(call),
        credits,
        given.reason.strip(),
        allow_debt=given.allow_debt,
        actor=caller_actor(call),
    )
    return json_response(account_to_json(account))


def _account_id(call: Call) -> str:
    """Return the account id of the path. Raises `Forbidden` if the caller may not see it."""
    account_id = call.request.match_info["id"]
    require_account(call.caller, account_id)
    return account_id
