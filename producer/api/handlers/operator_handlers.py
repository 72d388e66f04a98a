"""Handlers for operators: details of a job, retry, resolve, and routes."""

from __future__ import annotations

from aiohttp import web

from producer.api.authentication import caller_actor
from producer.api.endpoint import JOB_BODY_BYTES, Call
from producer.api.handlers.job_handlers import find_job
from producer.api.requests.admin_bodies import parse_admin_body
from producer.api.requests.json_body import read_json_object
from producer.api.requests.operator_bodies import (
    ImagesFound,
    ImagesLost,
    Resolution,
    Retry,
    RouteChoice,
    TaskFound,
    TaskLost,
    parse_resolution,
)
from producer.api.responses.json_response import json_response
from producer.model_routes import model_to_json, preview_to_json
from producer.row_json import row_to_json
from shared.domain.job import Job
from shared.job_json import job_to_json
from shared.stored_json import read_stored_object

_DETAIL_KINDS = ("events", "attempts", "entries", "late_tasks", "webhooks", "retries")
"""Not the audit entries, which only admins read, by `GET /v1/audit?job_id=`."""


async def show_details(call: Call) -> web.StreamResponse:
    """Return a job with everything that is stored about it."""
    job = await find_job(call)
    details = await call.context.producer.job_details(job.id)
    for event in details["events"]:
        event["detail"] = read_stored_object(event["detail"])
    return json_response(
        {
            "job": job_to_json(job),
            "idempotency_key": job.idempotency_key,
            "retry_of": str(job.retry_of) if job.retry_of else None,
            "price_id": job.price_id,
            **{kind: [row_to_json(row) for row in details[kind]] for kind in _DETAIL_KINDS},
        }
    )


async def retry_job(call: Call) -> web.StreamResponse:
    """Retry an ended job: 202 with the new job, or 200 with the job of an earlier retry."""
    first = await find_job(call)
    body = await read_json_object(call.request, JOB_BODY_BYTES, is_optional=True)
    again = parse_admin_body(Retry, body).again
    retried = await call.context.producer.retry_once(
        first.id, again=again, actor=caller_actor(call)
    )
    headers = {"Location": f"/v1/jobs/{retried.job.id}"}
    return json_response(job_to_json(retried.job), 202 if retried.is_new else 200, headers)


async def resolve_job(call: Call) -> web.StreamResponse:
    """Resolve a job in doubt by an operator's verdict, and return it."""
    job = await find_job(call)
    body = parse_resolution(await read_json_object(call.request, JOB_BODY_BYTES))
    return json_response(job_to_json(await _resolve(call, job, body)))


async def _resolve(call: Call, job: Job, body: Resolution) -> Job:
    producer, actor = call.context.producer, caller_actor(call)
    match body:
        case TaskFound():
            return await producer.resolve_submitted(job.id, body.task_id, body.reason, actor=actor)
        case TaskLost():
            return await producer.resolve_lost(job.id, body.reason, actor=actor)
        case ImagesFound():
            return await producer.resolve_delivered(
                job.id, body.result_urls, body.reason, actor=actor, task_id=body.task_id
            )
        case ImagesLost():
            return await producer.resolve_undelivered(
                job.id, body.reason, actor=actor, task_id=body.task_id
            )


async def list_models(call: Call) -> web.StreamResponse:
    """Return the models, each with its route."""
    models = await call.context.producer.models.list()
    return json_response({"models": [model_to_json(one) for one in models]})


async def route_model(call: Call) -> web.StreamResponse:
    """Choose the route of a model, and return what it means for the queued jobs.

    With `dry_run`, nothing is changed.
    """
    model = call.request.match_info["model"]
    body = parse_admin_body(RouteChoice, await read_json_object(call.request, JOB_BODY_BYTES))
    models = call.context.producer.models
    preview = await models.preview(model, body.via)
    if not body.dry_run:
        await models.route(model, body.via, reason=body.reason, actor=caller_actor(call))
    (now,) = [one for one in await models.list() if one.name == model]
    return json_response(
        {
            "dry_run": body.dry_run,
            "model": model_to_json(now),
            "queued": preview_to_json(preview),
        }
    )
