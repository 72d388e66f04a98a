"""Handlers of event streams: of one job, and of all jobs of an account."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from producer.api.authentication import require_account
from producer.api.endpoint import Call
from producer.api.handlers.job_handlers import find_job
from producer.api.requests.query_parameters import QueryParameters
from producer.live.positions import LAST_EVENT_ID
from producer.live.sse_response import stream_response
from shared.errors import Fault, InvalidRequest


async def job_events(call: Call) -> web.StreamResponse:
    """Stream the events of a job, from the start or after `Last-Event-ID`, until it has ended."""
    QueryParameters(call.request, ()).raise_faults()
    job = await find_job(call)
    events = call.context.producer.events
    async with events.job_stream(job.id, _resume_after(call)) as frames:
        return await _stream(call, frames)


async def account_events(call: Call) -> web.StreamResponse:
    """Stream the events of an account's jobs, from now on or after `Last-Event-ID`."""
    QueryParameters(call.request, ()).raise_faults()
    account_id = call.request.match_info["id"]
    require_account(call.caller, account_id)
    await call.context.billing.account(account_id)
    events = call.context.producer.events
    async with events.account_stream(account_id, _resume_after(call)) as frames:
        return await _stream(call, frames)


async def _stream(call: Call, frames: AsyncIterator[bytes] | None) -> web.StreamResponse:
    def count_unsent(count: int) -> None:
        call.reservation.set_response_bytes(count, may_refuse=True)

    return await stream_response(
        call.request, frames, call.until_key_revoked(), count_unsent=count_unsent
    )


def _resume_after(call: Call) -> str | None:
    given = call.request.headers.getall(LAST_EVENT_ID, [])
    if len(given) > 1:
        raise InvalidRequest([Fault(LAST_EVENT_ID, "is given more than once")])
    return given[0] if given else None
