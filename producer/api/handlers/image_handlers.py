"""Handlers of copies of images: the image itself, or where it is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from aiohttp import web

from producer.api.authentication import caller_actor
from producer.api.endpoint import JOB_BODY_BYTES, ApiContext, Call
from producer.api.handlers.job_handlers import find_job
from producer.api.requests.admin_bodies import parse_admin_body
from producer.api.requests.bulk_bodies import ManyImages, build_image_selection
from producer.api.requests.json_body import read_json_object
from producer.api.requests.query_parameters import QueryParameters
from producer.api.responses.http_errors import Forbidden
from producer.api.responses.json_response import json_response
from producer.keys.roles import Role
from producer.results.image_retries import retried_images_to_json
from producer.results.stored_images import StoredImage
from producer.results.thumbnails import CONTENT_TYPE
from shared.adapters.http.slow_readers import reset
from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.results_store import StoredObject
from shared.errors import ResultsStoreDown

NUMBER_MAX = 999
THUMBNAIL = "thumbnail"
SIGNED_SECONDS = 900.0
"""How long a link to an image in a bucket answers."""
_WRITE_TIMEOUT_SECONDS = 30.0
_HELD_BYTES = 256 * 1024
"""What one download may keep in memory."""
_SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    # An image that is opened in a tab of its own runs nothing.
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_CACHED = "private, max-age=31536000, immutable"


async def job_image(call: Call) -> web.StreamResponse:
    """Send an image of a job, or redirect to it."""
    query = QueryParameters(call.request, ("size",))
    size = query.one_of("size", (THUMBNAIL,))
    query.raise_faults()
    if call.caller.role is Role.VIEWER and not call.context.viewers_see_prompts:
        raise Forbidden("a viewer does not see images: VIEWERS_SEE_PROMPTS is not set")
    job = await find_job(call)
    number = read_number(call.request.match_info["number"])
    image = await call.context.producer.stored_images.find(job.id, number)
    if not image.is_stored:
        return _redirect(image.kie_url)
    call.reservation.set_response_bytes(_HELD_BYTES, may_refuse=True)
    return await send_copy(call.request, call.context, image, as_thumbnail=bool(size))


async def retry_images(call: Call) -> web.StreamResponse:
    """Have failed copies tried again, and return how many."""
    body = parse_admin_body(ManyImages, await read_json_object(call.request, JOB_BODY_BYTES))
    selection = build_image_selection(body)
    retries, actor = call.context.producer.image_retries, caller_actor(call)
    if selection is None:
        retried = await retries.retry_all(actor=actor)
    else:
        retried = await retries.retry(selection, actor=actor)
    return json_response(retried_images_to_json(retried))


async def send_copy(
    request: web.Request, context: ApiContext, image: StoredImage, *, as_thumbnail: bool
) -> web.StreamResponse:
    """Send a stored image or its thumbnail, or redirect to the image in a bucket.

    Raises `NotFound` if the store lacks it, and `ResultsStoreDown`.
    """
    images = context.producer.stored_images
    etag = f'"{image.sha256}{"-thumbnail" if as_thumbnail else ""}"'
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers={"ETag": etag, "Cache-Control": _CACHED})
    if as_thumbnail:
        stored = await context.thumbnails.open(images, image)
        small = replace(image, key=f"{image.number}.webp", content_type=CONTENT_TYPE)
        return await _send(request, small, stored, etag)
    link = await images.sign(image, valid_seconds=SIGNED_SECONDS)
    if link is not None:
        return _redirect(link)
    return await _send(request, image, await images.open(image), etag)


def read_number(text: str) -> int:
    """Return the number in the path. One that cannot be is 0, which no image has."""
    is_number = text.isascii() and text.isdigit() and int(text) <= NUMBER_MAX
    return int(text) if len(text) <= len(str(NUMBER_MAX)) and is_number else 0


def _redirect(url: str) -> web.Response:
    return web.Response(status=302, headers={"Location": url, "Cache-Control": "no-store"})


async def _send(
    request: web.Request, image: StoredImage, stored: StoredObject, etag: str
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            **_SAFE_HEADERS,
            "Content-Type": image.content_type,
            "Content-Length": str(stored.size),
            "Content-Disposition": f'inline; filename="{image.file_name}"',
            "ETag": etag,
            "Cache-Control": _CACHED,
        }
    )
    try:
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        async for chunk in stored.chunks:
            async with asyncio.timeout(_WRITE_TIMEOUT_SECONDS):
                await response.write(chunk)
        async with asyncio.timeout(_WRITE_TIMEOUT_SECONDS):
            await response.write_eof()
    except ResultsStoreDown as down:
        # The status is sent. A client sees a body that is shorter than it was told.
        incidents.record_outage(down, doing="send_image")
        _cut_off(request)
    except (ConnectionError, TimeoutError):
        _cut_off(request)
    return response


def _cut_off(request: web.Request) -> None:
    with suppress(ConnectionError):
        if request.transport is not None:
            reset(request.transport)
