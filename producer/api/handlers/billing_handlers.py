"""Accounts, the ledger, statements, refunds and the margin over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import quote

from aiohttp import web

from producer.api.authentication import caller_account, caller_actor, require_account
from producer.api.endpoint import DATA_URL_BODY_BYTES, JOB_BODY_BYTES, Call
from producer.api.handlers.job_handlers import REPLAYED_HEADER
from producer.api.requests.admin_bodies import Erasure, Grant, NewAccount, Refund, parse_admin_body
from producer.api.requests.json_body import read_json_object, read_json_with_data_urls
from producer.api.requests.limits_body import LimitsChange
from producer.api.requests.order_body import parse_order, parse_order_with_images
from producer.api.requests.query_parameters import QueryParameters
from producer.api.requests.quote_query import read_quote_body
from producer.api.requests.request_parts import RequestParts, read_idempotency_key
from producer.api.responses.json_response import json_response, list_response
from producer.jobs.operator_methods import parse_job_id
from producer.list_pages import DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT, MAX_ROW_ID
from producer.money.grants import granted_account_to_json
from producer.money.margins import MarginGroup
from producer.money.statements import start_of_month, statement_to_json
from producer.orders.field_limits import ACCOUNT_LENGTH, KEY_LENGTH
from producer.orders.order import Order
from producer.retention.prompt_erasure import erasure_to_json
from producer.row_json import account_to_json, row_to_json
from producer.waiting.quotes import quote_to_json
from shared.adapters.http.slow_readers import PacedResponse
from shared.errors import AccountNotFound, Fault, InvalidRequest
from shared.job_json import timestamp_to_json

STATEMENT_PARAMETERS = ("from", "to")
MARGIN_DAYS_DEFAULT = 30
_ERASE_SECONDS = 10.0
"""How long a request erases prompts. Workers do the rest."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


async def show_quote(call: Call) -> web.StreamResponse:
    """Return what a job would cost and when it would be submitted. Nothing is stored."""
    order = parse_order(read_quote_body(call.request), caller_account(call.caller), None)
    return await _quote(call, order)


async def quote_order(call: Call) -> web.StreamResponse:
    """Return the same for the body of `POST /v1/jobs`. Images that it contains are not uploaded."""
    body = await read_json_with_data_urls(call.request, JOB_BODY_BYTES, DATA_URL_BODY_BYTES)
    parts = RequestParts()
    parts.read(lambda: QueryParameters(call.request, ()).raise_faults(), None)
    account_id = caller_account(call.caller)
    find_fault = call.context.producer.enqueuer.find_destination_fault
    given = parts.read_last(lambda: parse_order_with_images(body, account_id, None, find_fault))
    return await _quote(call, given.order)


async def _quote(call: Call, order: Order) -> web.StreamResponse:
    require_account(call.caller, order.account_id)
    try:
        quote = await call.context.producer.quote(
            order.request,
            account_id=order.account_id,
            priority=order.priority,
            run_at=order.run_at,
            priority_limit=order.priority_limit,
        )
    except AccountNotFound as unknown:
        raise InvalidRequest([Fault("account_id", str(unknown))]) from unknown
    return json_response(quote_to_json(quote, order.request))


async def list_accounts(call: Call) -> web.StreamResponse:
    """Return one page of accounts, by id."""
    query = QueryParameters(call.request, ("limit", "cursor"))
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    after = query.text("cursor", ACCOUNT_LENGTH)
    query.raise_faults()
    accounts = await call.context.billing.accounts(after=after, limit=limit + 1)
    next_id = accounts[limit - 1].id if len(accounts) > limit else None
    return list_response("accounts", [account_to_json(one) for one in accounts[:limit]], next_id)


async def create_account(call: Call) -> web.StreamResponse:
    """Create an account, and grant it credits in the same statement."""
    body = await read_json_object(call.request, JOB_BODY_BYTES)
    given = parse_admin_body(NewAccount, body)
    account = await call.context.billing.create_account(
        given.id, Decimal(str(given.credits)), actor=caller_actor(call)
    )
    headers = {"Location": f"/v1/accounts/{quote(account.id, safe='')}"}
    return json_response(account_to_json(account), 201, headers)


async def show_account(call: Call) -> web.StreamResponse:
    """Return an account: its credits and its limits."""
    QueryParameters(call.request, ()).raise_faults()
    account = await call.context.billing.account(_account_id(call))
    return json_response(account_to_json(account))


async def list_ledger(call: Call) -> web.StreamResponse:
    """Return one page of an account's ledger entries, newest first."""
    query = QueryParameters(call.request, ("limit", "cursor"))
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    below = query.number("cursor", MAX_ROW_ID, 1, MAX_ROW_ID)
    query.raise_faults()
    account_id, billing = _account_id(call), call.context.billing
    page = await billing.ledger_page(account_id, below, limit)
    actors = await billing.read_entry_actors(account_id, [row["id"] for row in page.entries])
    # A service does not see the names of operators.
    shown = actors if caller_account(call.caller) is None else {}
    entries = [{**row_to_json(row), "granted_by": shown.get(row["id"])} for row in page.entries]
    return list_response("entries", entries, page.next_below)


async def grant(call: Call) -> web.StreamResponse:
    """Grant credits, or take them if negative, and return the account with the ledger entry.

    A used idempotency key gets the first entry again.
    """
    body = await read_json_object(call.request, JOB_BODY_BYTES)
    parts = RequestParts()
    key = parts.read(lambda: read_idempotency_key(call.request, KEY_LENGTH), None)
    given = parts.read_last(lambda: parse_admin_body(Grant, body, key_is_header=True))
    credits = Decimal(str(given.credits))
    granted = await call.context.billing.grant(
        _account_id(call),
        credits,
        given.reason.strip(),
        allow_debt=given.allow_debt,
        idempotency_key=key,
        actor=caller_actor(call),
    )
    headers = {REPLAYED_HEADER: "true"} if granted.is_replayed else {}
    return json_response(granted_account_to_json(granted), 200, headers)


async def set_limits(call: Call) -> web.StreamResponse:
    """Set limits of an account, and return the account."""
    body = await read_json_object(call.request, JOB_BODY_BYTES)
    given = parse_admin_body(LimitsChange, body)
    account = await call.context.billing.set_account_limits(
        _account_id(call), reason=given.reason, actor=caller_actor(call), **given.limits()
    )
    return json_response(account_to_json(account))


async def erase_prompts(call: Call) -> web.StreamResponse:
    """Erase the prompts of an account as far as a few seconds allow, and return how far."""
    body = await read_json_object(call.request, JOB_BODY_BYTES)
    erasure = await call.context.producer.prompt_erasures.erase(
        _account_id(call),
        reason=parse_admin_body(Erasure, body).reason.strip(),
        actor=caller_actor(call),
        within_seconds=_ERASE_SECONDS,
    )
    return json_response(erasure_to_json(erasure))


async def list_erasures(call: Call) -> web.StreamResponse:
    """Return the erasures of an account's prompts and how far each is, newest first."""
    account_id = _account_id(call)
    query = QueryParameters(call.request, ("limit",))
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    query.raise_faults()
    erasures = await call.context.producer.prompt_erasures.of_account(account_id, limit=limit)
    return json_response({"erasures": [erasure_to_json(one) for one in erasures]})


async def refund_job(call: Call) -> web.StreamResponse:
    """Give back what a job was charged, or a part of it, and return the entry of the ledger."""
    body = await read_json_object(call.request, JOB_BODY_BYTES)
    given = parse_admin_body(Refund, body)
    billing = call.context.billing
    entry = await billing.refund(
        parse_job_id(call.request.match_info["id"]),
        None if given.credits is None else Decimal(str(given.credits)),
        reason=given.reason.strip(),
        actor=caller_actor(call),
    )
    actors = await billing.read_entry_actors(entry["account_id"], [entry["id"]])
    return json_response({**row_to_json(entry), "granted_by": actors.get(entry["id"])})


async def show_statement(call: Call) -> web.StreamResponse:
    """Return an account's statement with one page of its lines, oldest first."""
    account_id = _account_id(call)
    query = QueryParameters(call.request, (*STATEMENT_PARAMETERS, "limit", "cursor"))
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    after = query.number("cursor", 0, 1, MAX_ROW_ID)
    since, until = _read_period(query, start_of_month)
    billing = call.context.billing
    statement = await billing.statement(account_id, since, until)
    lines = await billing.statement_lines(statement, after=after, limit=limit + 1)
    next_id = str(lines[limit - 1]["id"]) if len(lines) > limit else None
    entries = [row_to_json(line) for line in lines[:limit]]
    return json_response(
        {**statement_to_json(statement), "entries": entries, "next_cursor": next_id}
    )


async def download_statement(call: Call) -> web.StreamResponse:
    """Return all lines of an account's statement as CSV."""
    account_id = _account_id(call)
    query = QueryParameters(call.request, STATEMENT_PARAMETERS)
    since, until = _read_period(query, start_of_month)
    billing = call.context.billing
    text = await billing.statement_csv(await billing.statement(account_id, since, until))
    return PacedResponse(
        text=text,
        content_type="text/csv",
        charset="utf-8",
        headers={"Content-Disposition": 'attachment; filename="statement.csv"'},
    )


async def show_margin(call: Call) -> web.StreamResponse:
    """Return the margin by day, model, variant or account."""
    query = QueryParameters(call.request, ("by", *STATEMENT_PARAMETERS, "limit"))
    group = MarginGroup(query.one_of("by", list(MarginGroup)) or MarginGroup.DAY)
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    since, until = _read_period(query, lambda end: end - timedelta(days=MARGIN_DAYS_DEFAULT))
    rows = await call.context.billing.margin(group, since, until, limit)
    return json_response(
        {
            "by": group.value,
            "from": timestamp_to_json(since),
            "to": timestamp_to_json(until),
            "margin": [row_to_json(row) for row in rows],
        }
    )


def _read_period(
    query: QueryParameters, default_start: Callable[[datetime], datetime]
) -> tuple[datetime, datetime]:
    """Return the period of `from` and `to`, and raise the faults of the query.

    Without `to` it ends now, or a day after a `from` to come. Without `from` it begins at
    `default_start` of its end.
    """
    since, until = query.time("from"), query.time("to")
    query.raise_faults()
    until = until or max(datetime.now(UTC), (since or _LONG_AGO) + timedelta(days=1))
    return since or default_start(until), until


def _account_id(call: Call) -> str:
    """Return the account id of the path. Raises `Forbidden` if the caller may not see it."""
    account_id = call.request.match_info["id"]
    require_account(call.caller, account_id)
    return account_id
