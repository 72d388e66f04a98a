"""Handlers of jobs: create, read, wait, list, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any, get_args

from aiohttp import web

from producer.accounts.limit_errors import PriorityNotAllowed
from producer.api.authentication import (
    caller_account,
    caller_actor,
    require_account,
    require_job,
    restrict_filter,
)
from producer.api.endpoint import (
    BATCH_BODY_BYTES,
    DATA_URL_BODY_BYTES,
    JOB_BODY_BYTES,
    ApiContext,
    Call,
)
from producer.api.requests.json_body import read_json_object, read_json_with_data_urls
from producer.api.requests.order_body import (
    MAX_BATCH_JOBS,
    GivenOrder,
    parse_batch,
    parse_order_with_images,
)
from producer.api.requests.query_parameters import QueryParameters
from producer.api.requests.request_parts import RequestParts, read_idempotency_key
from producer.api.responses.json_response import json_response, list_response
from producer.files.image_uploads import ImagesOfOrder
from producer.jobs.job_counts import counts_to_json
from producer.jobs.job_filter import FILTER_RULES
from producer.jobs.job_mask import mask_job
from producer.jobs.job_repository import EnqueueResult
from producer.keys.roles import Role
from producer.list_pages import DEFAULT_LIST_LIMIT, ESTIMATE, MAX_LIST_LIMIT
from producer.orders.field_limits import KEY_LENGTH
from producer.orders.insert_parameters import restore_first_state
from producer.orders.order import Order
from shared.adapters.async_tasks import stop_tasks
from shared.catalog.request_images import images_of
from shared.domain.job import ESTIMATED, Job, Priority
from shared.errors import FAULTS_MAX, AccountNotFound, Fault, InvalidRequest, WaitTimedOut
from shared.job_json import JOB_FIELDS, job_to_json

WAIT_SECONDS_MAX = 60.0
"""The most that `wait` may ask for."""
WAIT_ENDS_SECONDS = 50.0
"""A wait ends after this time even if it asks for more: common proxies give up after 60 s."""
CHECK_IMAGES = "check_images"
BATCH_IMAGES_MAX = 64
"""The most different images that a batch contains, or that are requested for it."""
_OPTIONAL_FIELDS = frozenset({"request", "metadata"})
"""Fields that are read from the database only if the response contains them."""
REPLAYED_HEADER = "Idempotent-Replayed"
BATCH_KEY_LENGTH = KEY_LENGTH - len(f"/{MAX_BATCH_JOBS - 1}")
"""The idempotency key of a job in a batch is the key of the batch, `/` and the job's index."""


async def create_job(call: Call) -> web.StreamResponse:
    """Create a job and respond 202. A used idempotency key gets the first response again."""
    body = await read_json_with_data_urls(call.request, JOB_BODY_BYTES, DATA_URL_BODY_BYTES)
    parts = RequestParts()
    checks_images = parts.read(lambda: _read_check_images(call), False)
    key = parts.read(lambda: read_idempotency_key(call.request, KEY_LENGTH), None)
    account_id = caller_account(call.caller)
    find_fault = call.context.producer.enqueuer.find_destination_fault
    given = parts.read_last(lambda: parse_order_with_images(body, account_id, key, find_fault))
    require_account(call.caller, given.order.account_id)
    try:
        [order] = await upload_images(call, [given])
        if checks_images:
            await call.context.producer.images.check_orders([order])
        enqueued = await call.context.order_batcher.enqueue(order)
    except AccountNotFound as unknown:
        raise _unknown_account(unknown, {"account_id": given.order}) from unknown
    headers = {"Location": f"/v1/jobs/{enqueued.job.id}", **_replay_headers([enqueued])}
    [job] = await _jobs_at_enqueue(call, [enqueued])
    return json_response(job_to_json(job), 202, headers)


def _read_check_images(call: Call) -> bool:
    query = QueryParameters(call.request, (CHECK_IMAGES,))
    checks_images = query.one_of(CHECK_IMAGES, ("true", "false")) == "true"
    query.raise_faults()
    return checks_images


async def upload_images(call: Call, given: Sequence[GivenOrder]) -> list[Order]:
    """Upload the images that orders contain, and return the orders with their URLs."""
    if not any(one.given.images for one in given):
        return [one.order for one in given]
    with call.context.uploads.hold():
        urls = await call.context.producer.files.upload_for_orders(
            [
                ImagesOfOrder(
                    one.given.images, one.order.account_id, one.order.idempotency_key, one.prefix
                )
                for one in given
            ]
        )
    return [one.with_urls(its_urls) for one, its_urls in zip(given, urls, strict=True)]


async def create_jobs(call: Call) -> web.StreamResponse:
    """Create all jobs of a batch or none, and respond 202 with the jobs in the order given."""
    body = await read_json_object(call.request, BATCH_BODY_BYTES)
    parts = RequestParts()
    checks_images = parts.read(lambda: _read_check_images(call), False)
    key = parts.read(lambda: read_idempotency_key(call.request, BATCH_KEY_LENGTH), None)
    account_id = caller_account(call.caller)
    find_fault = call.context.producer.enqueuer.find_destination_fault
    given = parts.read_last(lambda: parse_batch(body, account_id, key, find_fault))
    for one in given:
        require_account(call.caller, one.order.account_id)
    _require_few_images(given, checks_images=checks_images)
    try:
        orders = await upload_images(call, given)
        if checks_images:
            await call.context.producer.images.check_orders(orders)
        enqueued = await call.context.producer.enqueuer.enqueue(orders)
    except AccountNotFound as unknown:
        named = {f"{one.prefix}account_id": one.order for one in given}
        raise _unknown_account(unknown, named) from unknown
    except PriorityNotAllowed as refused:
        raise _name_priorities(refused, orders) from refused
    except InvalidRequest as refused:
        # The faults of a single order have no index, so add it.
        faults = [
            Fault(
                one.field if one.field.startswith("jobs.") else f"jobs.0.{one.field}", one.message
            )
            for one in refused.faults
        ]
        raise InvalidRequest(faults) from refused
    jobs = [job_to_json(job) for job in await _jobs_at_enqueue(call, enqueued)]
    return json_response({"jobs": jobs}, 202, _replay_headers(enqueued))


def _require_few_images(given: Sequence[GivenOrder], *, checks_images: bool) -> None:
    """Raise `InvalidRequest` for more images than are uploaded or requested in time."""
    contained, linked = set(), set()
    for one in given:
        own = {image.field: image.source for image in one.given.images}
        contained |= {(one.order.account_id, source) for source in own.values()}
        linked |= {url for field, url in images_of(one.given.fields).items() if field not in own}
    counts = [
        ("jobs", "contain", len(contained)),
        (CHECK_IMAGES, "would request", len(linked) if checks_images else 0),
    ]
    faults = [
        Fault(field, f"{what} {count} different images; at most {BATCH_IMAGES_MAX} are allowed")
        for field, what, count in counts
        if count > BATCH_IMAGES_MAX
    ]
    if faults:
        raise InvalidRequest(faults)


def _name_priorities(error: PriorityNotAllowed, orders: Sequence[Order]) -> PriorityNotAllowed:
    """Return the error with the fields of all orders of the account that ask for too much."""
    priorities = get_args(Priority)
    too_high = [
        f"jobs.{index}.priority"
        for index, order in enumerate(orders)
        if order.account_id == error.account_id
        and order.priority_limit == "refuse"
        and priorities.index(order.priority) < priorities.index(error.allowed)
    ]
    return PriorityNotAllowed(
        error.account_id, asked=error.asked, allowed=error.allowed, fields=too_high[:FAULTS_MAX]
    )


def _unknown_account(error: AccountNotFound, named: Mapping[str, Order]) -> InvalidRequest:
    """Return the error for an account that does not exist, with the fields that name it."""
    return InvalidRequest(
        [
            Fault(field, str(error))
            for field, order in named.items()
            if order.account_id == error.account_id
        ]
    )


async def _jobs_at_enqueue(call: Call, enqueued: Sequence[EnqueueResult]) -> list[Job]:
    """Return the jobs in their first state, so that a replayed response equals the first one."""
    waiting = call.context.producer.waiting
    new = iter(await waiting.add_to_new([one.job for one in enqueued if one.is_new]))
    return [
        next(new) if one.is_new else waiting.add_first(restore_first_state(one.job))
        for one in enqueued
    ]


def _replay_headers(enqueued: Sequence[EnqueueResult]) -> dict[str, str]:
    return {REPLAYED_HEADER: "true"} if not any(one.is_new for one in enqueued) else {}


async def show_job(call: Call) -> web.StreamResponse:
    """Return a job. With `wait`, respond when it has ended or after that many seconds.

    A wait ends after `WAIT_ENDS_SECONDS` at most.
    """
    query = QueryParameters(call.request, ("wait", "fields"))
    seconds = query.seconds("wait", WAIT_SECONDS_MAX)
    fields = query.names("fields", JOB_FIELDS)
    query.raise_faults()
    job = await find_job(call)
    if seconds and not job.is_announced:
        async with call.until_key_revoked():
            job = await wait_for_end(call.context, job, min(seconds, WAIT_ENDS_SECONDS))
    return json_response(_select_fields(_visible(call, job), fields))


async def wait_for_end(context: ApiContext, job: Job, seconds: float) -> Job:
    """Wait until the job is terminal, the time is over or the process stops. Return the job."""
    waiting = asyncio.create_task(_wait_until_timeout(context, job, seconds))
    stopping = asyncio.create_task(context.stopping.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        return await context.producer.get(job.id)
    finally:
        await stop_tasks([waiting, stopping])


async def _wait_until_timeout(context: ApiContext, job: Job, seconds: float) -> Job:
    try:
        return await context.producer.wait(job.id, timeout_seconds=seconds)
    except WaitTimedOut:
        return await context.producer.get(job.id)


def _select_fields(job: Job, fields: Collection[str] | None) -> dict[str, Any]:
    """Return the job object, or only the given fields of it, in the order of the job object."""
    whole = job_to_json(job)
    return whole if fields is None else {name: whole[name] for name in whole if name in fields}


def _visible(call: Call, job: Job) -> Job:
    """Return the job with the fields that the caller may see."""
    may_see = call.caller.role is not Role.VIEWER or call.context.viewers_see_prompts
    return job if may_see else mask_job(job)


async def find_job(call: Call) -> Job:
    """Return the job of the path. Raises `JobNotFound`, also if the caller may not see it."""
    job = await call.context.producer.get(call.request.match_info["id"])
    require_job(call.caller, job)
    return job


async def cancel_job(call: Call) -> web.StreamResponse:
    """Cancel a job and return it: 200 if it is cancelled, 202 if it is at Kie and was not waited
    for any more. Responds 409 if the job has ended.
    """
    job = await find_job(call)
    job = await call.context.producer.cancel(job.id, actor=caller_actor(call))
    status = HTTPStatus.OK if job.is_terminal else HTTPStatus.ACCEPTED
    return json_response(job_to_json(job), status)


async def list_jobs(call: Call) -> web.StreamResponse:
    """Return one page of jobs, newest first."""
    query = QueryParameters(call.request, (*FILTER_RULES, "limit", "cursor", "fields"))
    where = query.job_filter()
    limit = query.number("limit", DEFAULT_LIST_LIMIT, 1, MAX_LIST_LIMIT)
    below = query.job_id("cursor")
    fields = query.names("fields", JOB_FIELDS)
    query.raise_faults()
    page = await call.context.producer.page(
        restrict_filter(call, where),
        limit=limit,
        below=below,
        without=() if fields is None else _unread_parts(fields),
    )
    jobs = [_select_fields(_visible(call, job), fields) for job in page.jobs]
    return list_response("jobs", jobs, page.next_below)


def _unread_parts(fields: Collection[str]) -> Collection[str]:
    """Return what need not be read for these fields of the job object."""
    unread = set(_OPTIONAL_FIELDS - set(fields))
    return unread if any(name in fields for name in ESTIMATED) else {*unread, ESTIMATE}


async def count_jobs(call: Call) -> web.StreamResponse:
    """Return how many jobs match the filter, by state and reason."""
    query = QueryParameters(call.request, tuple(FILTER_RULES))
    where = query.job_filter()
    query.raise_faults()
    counts = await call.context.producer.count(restrict_filter(call, where))
    return json_response(counts_to_json(counts))
