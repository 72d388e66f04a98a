"""Handlers that cancel and retry many jobs."""

from __future__ import annotations

from aiohttp import web

from producer.api.authentication import caller_account, caller_actor, restrict_filter
from producer.api.endpoint import JOB_BODY_BYTES, Call
from producer.api.requests.admin_bodies import parse_admin_body
from producer.api.requests.bulk_bodies import ManyJobs, ManyRetries, build_selection
from producer.api.requests.json_body import read_json_object
from producer.api.responses.json_response import json_response
from producer.bulk.bulk_result import bulk_result_to_json
from producer.bulk.job_selection import JobSelection


async def cancel_jobs(call: Call) -> web.StreamResponse:
    """Cancel the open jobs of the selection, and return the outcome of each."""
    body = parse_admin_body(ManyJobs, await read_json_object(call.request, JOB_BODY_BYTES))
    result = await call.context.producer.cancel_many(
        _select(call, body), dry_run=body.dry_run, actor=caller_actor(call)
    )
    return json_response(bulk_result_to_json(result))


async def retry_jobs(call: Call) -> web.StreamResponse:
    """Retry the ended jobs of the selection, and return the outcome of each."""
    body = parse_admin_body(ManyRetries, await read_json_object(call.request, JOB_BODY_BYTES))
    result = await call.context.producer.retry_many(
        _select(call, body), again=body.again, dry_run=body.dry_run, actor=caller_actor(call)
    )
    return json_response(bulk_result_to_json(result))


def _select(call: Call, body: ManyJobs) -> JobSelection:
    """Return the selection of the body, for those jobs that the caller may change."""
    if body.where is not None:
        restrict_filter(call, body.where)
    return build_selection(body, caller_account(call.caller))
