"""Webhook messages and the secrets that sign them. A service sees and changes its own alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from aiohttp import web

from producer.api.authentication import caller_account, caller_actor, require_account
from producer.api.endpoint import Call
from producer.api.requests.query_parameters import QueryParameters
from producer.api.responses.json_response import json_response, list_response
from producer.list_pages import DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT
from producer.orders.field_limits import ACCOUNT_LENGTH
from producer.row_json import row_to_json
from producer.webhooks.webhook_admin import WebhookState
from producer.webhooks.webhook_messages import no_such_message
from shared.text_and_url_checks import URL_LENGTH_MAX

STATES: tuple[str, ...] = get_args(WebhookState)


async def list_webhooks(call: Call) -> web.StreamResponse:
    """Return one page of messages, newest first."""
    query = QueryParameters(call.request, ("account_id", "job_id", "state", "limit", "cursor"))
    account_id = query.text("account_id", ACCOUNT_LENGTH)
    job_id = query.job_id("job_id", "the id of a job")
    state = query.one_of("state", STATES)
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    cursor = query.webhook_id("cursor")
    query.raise_faults()
    if account_id is not None:
        require_account(call.caller, account_id)
    rows = await call.context.producer.webhooks.list(
        account_id=account_id or caller_account(call.caller),
        state=state,
        job_id=job_id,
        before=cursor,
        # One more tells whether there is a next page.
        limit=min(limit + 1, MAX_LIST_LIMIT),
    )
    shown = [row_to_json(row) for row in rows[:limit]]
    has_more = len(rows) > limit or limit == len(rows) == MAX_LIST_LIMIT
    return list_response("webhooks", shown, shown[-1]["id"] if has_more else None)


async def show_webhook(call: Call) -> web.StreamResponse:
    """Return a message with its tries."""
    QueryParameters(call.request, ()).raise_faults()
    row = await _find_message(call)
    history = [row_to_json(one) for one in row["history"]]
    return json_response({**row_to_json(row), "history": history})


async def replay_webhook(call: Call) -> web.StreamResponse:
    """Send a webhook message again, and return it."""
    found = await _find_message(call)
    row = await call.context.producer.webhooks.replay(found["id"], actor=caller_actor(call))
    return json_response(row_to_json(row))


async def show_secret(call: Call) -> web.StreamResponse:
    """Return the secret of the account, or of the URL of the query."""
    account_id, url = _account_and_url(call)
    webhooks = call.context.producer.webhooks
    if url is None:
        return _secret_response(await webhooks.account_secrets.show(account_id))
    return _secret_response(await webhooks.secret(account_id, url))


async def create_secret(call: Call) -> web.StreamResponse:
    """Make the secret of the account or of the URL of the query, or return the one there is."""
    account_id, url = _account_and_url(call)
    producer, actor = call.context.producer, caller_actor(call)
    if url is None:
        made = await producer.webhooks.account_secrets.create(account_id, actor=actor)
        return _secret_response(made)
    allow_loopback = producer.enqueuer.webhooks_allow_loopback
    return _secret_response(
        await producer.webhooks.secret(account_id, url, allow_loopback=allow_loopback, actor=actor)
    )


async def rotate_secret(call: Call) -> web.StreamResponse:
    """Replace the secret of the account or of the URL of the query, and return the new one."""
    account_id, url = _account_and_url(call)
    webhooks, actor = call.context.producer.webhooks, caller_actor(call)
    if url is None:
        return _secret_response(await webhooks.account_secrets.rotate(account_id, actor=actor))
    return _secret_response(await webhooks.rotate(account_id, url, actor=actor))


async def revoke_secret(call: Call) -> web.StreamResponse:
    """End the secret of the account at once."""
    QueryParameters(call.request, ()).raise_faults()
    account_id = _own_account(call)
    revoked = await call.context.producer.webhooks.account_secrets.revoke(
        account_id, actor=caller_actor(call)
    )
    return json_response(row_to_json(revoked))


async def _find_message(call: Call) -> dict[str, Any]:
    """Return the message of the path. One of another account does not exist for a service."""
    message_id = call.request.match_info["id"]
    row = await call.context.producer.webhooks.get(message_id)
    bound = caller_account(call.caller)
    if bound is not None and row["account_id"] != bound:
        raise no_such_message(message_id)
    return row


def _own_account(call: Call) -> str:
    account_id = call.request.match_info["id"]
    require_account(call.caller, account_id)
    return account_id


def _account_and_url(call: Call) -> tuple[str, str | None]:
    query = QueryParameters(call.request, ("url",))
    url = query.text("url", URL_LENGTH_MAX)
    query.raise_faults()
    return _own_account(call), url


def _secret_response(row: Mapping[str, Any]) -> web.StreamResponse:
    shown = row_to_json({name: value for name, value in row.items() if name != "id"})
    # A secret is stored by nobody on the way.
    return json_response({"url": None, **shown}, 200, {"Cache-Control": "no-store"})
