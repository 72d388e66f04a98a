"""Places the jobs of an image request, waits for them, and answers with their images."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from producer.api.authentication import caller_account
from producer.api.endpoint import JOB_BODY_BYTES, ApiContext, Call
from producer.api.handlers.job_handlers import wait_for_end
from producer.api.openai_api.edit_form import read_edit_form
from producer.api.openai_api.image_answer import EncodedImages, url_answer
from producer.api.openai_api.image_options import (
    IMAGES_MAX,
    ImageOptions,
    read_options,
    rename_faults,
)
from producer.api.openai_api.job_answers import (
    cancelled_answer,
    failed_answer,
    unfinished_answer,
    unreadable_answer,
)
from producer.api.openai_api.mask_conversion import MaskConverter
from producer.api.openai_api.repeated_requests import (
    FINGERPRINT_FIELD,
    SentRequest,
    find_first_jobs,
    find_jobs_of_key,
    key_of_job,
    new_key,
    read_sent_request,
)
from producer.api.openai_api.result_images import (
    ImageNotFetched,
    ResultImages,
    list_result_images,
)
from producer.api.requests.json_body import read_json_object
from producer.api.requests.order_body import require_few_fields
from producer.api.requests.request_parts import RequestParts, read_idempotency_key
from producer.api.responses.http_errors import HttpRefusal
from producer.orders.field_limits import KEY_LENGTH
from producer.orders.order import Order
from producer.orders.order_fields import find_order_faults
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import InvalidRequest

_KEY_LENGTH = KEY_LENGTH - len(f"/{IMAGES_MAX - 1}")
_ACCOUNT_HEADERS = ("OpenAI-Organization", "OpenAI-Project")
_ANSWER_SECONDS = 2.0
"""How long before the client gives up it gets the answer that its job continues."""


class AccountMissing(HttpRefusal):
    """The key is for every account, and the request names none."""

    code = "account_missing"

    def __init__(self) -> None:
        super().__init__(
            "this key is for every account: name the one that pays as the organization of the"
            " client (header OpenAI-Organization), or use a key of the role service"
        )


class OpenaiImages:
    """Serves image requests. One per process.

    A request is answered after at most `wait_seconds`. Its jobs go on after that, and also when the
    client disconnects.
    """

    def __init__(self, images: ResultImages, *, wait_seconds: float) -> None:
        self._images, self._wait_seconds = images, wait_seconds
        self._masks = MaskConverter()
        self._placing: dict[str, set[asyncio.Task[Sequence[Job]]]] = {}
        """What is being placed, by fingerprint. A retry may arrive meanwhile."""

    async def generate(self, call: Call) -> web.StreamResponse:
        """Make images from a prompt."""
        started_at = asyncio.get_running_loop().time()
        body = await read_json_object(call.request, JOB_BODY_BYTES)
        require_few_fields(body)
        parts = RequestParts()
        key = parts.read(lambda: read_idempotency_key(call.request, _KEY_LENGTH), None)
        options = parts.read_last(lambda: read_options(body, "text-to-image", {}))
        sent = read_sent_request(call.request, body)
        return await self._serve(call, options, sent, key, started_at)

    async def edit(self, call: Call) -> web.StreamResponse:
        """Make images from images and a prompt. Each image passes through to Kie as it arrives."""
        account_id = account_of(call)
        parts = RequestParts()
        key = parts.read(lambda: read_idempotency_key(call.request, _KEY_LENGTH), None)
        uploads = call.context.producer.files
        with call.context.uploads.hold():
            form = await read_edit_form(
                call.request,
                lambda parts: uploads.upload(parts, account_id=account_id, field="image"),
            )
            first_image = (form.images[0].width, form.images[0].height)
            images: dict[str, Any] = {"image_urls": [image.url for image in form.images]}
            content = {**form.content}
            if form.mask is not None:
                converted = await self._masks.convert(form.mask, first_image)
                mask = await uploads.upload(converted, account_id=account_id, field="mask")
                images["mask_url"], content["mask"] = mask.url, mask.sha256
        options = parts.read_last(
            lambda: read_options(form.fields, "image-to-image", images, first_image=first_image)
        )
        sent = read_sent_request(call.request, content)
        return await self._serve(call, options, sent, key, asyncio.get_running_loop().time())

    async def _serve(
        self,
        call: Call,
        options: ImageOptions,
        sent: SentRequest,
        key: str | None,
        started_at: float,
    ) -> web.StreamResponse:
        jobs = await self._find_or_place(call, account_of(call), options, sent, key)
        deadline = started_at + self._seconds_to_wait(sent)
        remaining = max(deadline - asyncio.get_running_loop().time(), 0.0)
        async with call.until_key_revoked():
            jobs = await asyncio.gather(
                *(wait_for_end(call.context, job, remaining) for job in jobs)
            )
        if any(job.is_cancel_requested for job in jobs):
            return cancelled_answer(jobs)
        if not all(job.is_terminal for job in jobs):
            is_stopping = call.context.stopping.is_set()
            return unfinished_answer(jobs, self._seconds_to_wait(sent), is_stopping=is_stopping)
        delivered = [job for job in jobs if job.state is JobState.SUCCEEDED]
        if not delivered:
            return failed_answer(jobs, options.model)
        return await self._answer_with_images(call.context, delivered, options)

    def _seconds_to_wait(self, sent: SentRequest) -> float:
        given = sent.timeout_seconds
        if given is None:
            return self._wait_seconds
        return min(self._wait_seconds, max(given - _ANSWER_SECONDS, given / 2))

    async def _answer_with_images(
        self, context: ApiContext, jobs: Sequence[Job], options: ImageOptions
    ) -> web.StreamResponse:
        if options.response_format == "url":
            # Kie's links answer without a key. A copy of ours would not.
            urls = [url for job in jobs for url in job.kie_result_urls]
            return url_answer(jobs, options.model, urls)
        results = [image for job in jobs for image in list_result_images(job)]
        try:
            images = await self._images.fetch_all(results, context.producer.stored_images)
        except ImageNotFetched as error:
            return unreadable_answer(jobs, str(error))
        return EncodedImages(jobs, options.model, images)

    async def _find_or_place(
        self,
        call: Call,
        account_id: str,
        options: ImageOptions,
        sent: SentRequest,
        key: str | None,
    ) -> Sequence[Job]:
        found: Sequence[Job] = []
        if key is not None:
            found = await find_jobs_of_key(call.context.producer, account_id, sent, key)
        elif sent.retry:
            await self._wait_until_placed(sent.fingerprint)
            found = await find_first_jobs(call.context.producer, account_id, sent)
        if found:
            return found
        orders = _build_orders(account_id, options, sent, key or new_key())
        # The orders are placed even if the client disconnects now: its retry finds them.
        return await asyncio.shield(self._start_placing(call.context, orders, sent.fingerprint))

    async def _wait_until_placed(self, fingerprint: str) -> None:
        placing = self._placing.get(fingerprint)
        if placing:
            await asyncio.wait(placing)

    def _start_placing(
        self, context: ApiContext, orders: Sequence[Order], fingerprint: str
    ) -> asyncio.Task[Sequence[Job]]:
        task = asyncio.create_task(_place(context, orders))
        self._placing.setdefault(fingerprint, set()).add(task)

        def forget(ended: asyncio.Task[Sequence[Job]]) -> None:
            same = self._placing[fingerprint]
            same.discard(ended)
            if not same:
                del self._placing[fingerprint]
            if not ended.cancelled():
                ended.exception()  # the client may be gone, and nobody else asks for it

        task.add_done_callback(forget)
        return task


async def _place(context: ApiContext, orders: Sequence[Order]) -> Sequence[Job]:
    try:
        if len(orders) == 1:
            return [(await context.order_batcher.enqueue(orders[0])).job]
        return [one.job for one in await context.producer.enqueuer.enqueue(orders)]
    except InvalidRequest as refused:
        raise InvalidRequest(rename_faults(refused.faults)) from refused


def _build_orders(
    account_id: str, options: ImageOptions, sent: SentRequest, key: str
) -> Sequence[Order]:
    metadata: Mapping[str, Any] = {
        "openai_model": options.model.name,
        FINGERPRINT_FIELD: sent.fingerprint,
        **({"user": options.user} if options.user else {}),
    }
    return [
        Order(
            request=options.request,
            account_id=account_id,
            idempotency_key=key_of_job(key, index, options.jobs),
            metadata=metadata,
            priority_limit="lower",  # OpenAI's API has no priorities
        )
        for index in range(options.jobs)
    ]


def account_of(call: Call) -> str:
    """Return the account that pays: that of the key, or else the one that the client names.

    Raises `AccountMissing`. A key of one account ignores the organization of the client.
    """
    bound = caller_account(call.caller)
    if bound is not None:
        return bound
    for name in _ACCOUNT_HEADERS:
        account_id = call.request.headers.get(name)
        if account_id and not find_order_faults({"account_id": account_id}):
            return account_id
    raise AccountMissing
