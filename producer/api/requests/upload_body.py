"""Reads an uploaded file from a request body as a stream: the body itself, or a part of a form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from aiohttp import BodyPartReader, MultipartReader, web

from producer.api.access.upload_slots import UploadSlots
from producer.api.responses.http_errors import (
    MalformedRequest,
    RequestTooLarge,
    RequestTooSlow,
)
from producer.files.checked_image import FILE_BYTES_MAX, PART_BYTES
from shared.adapters.http.http_connection import allow_body_seconds
from shared.adapters.http.request_body import BROKEN_OFF
from shared.errors import Fault, InvalidRequest
from shared.field_faults import format_field_name

UPLOAD_SECONDS = 120.0
"""For a whole body. Less than 2 Mbit/s are enough for 25 MiB."""
SILENCE_SECONDS = 15.0
"""How long a client may send nothing."""
FORM_BYTES = 16 * 1024
"""What a form may have besides the file: its headers, and text around its parts."""
FILE_FIELD = "file"
_FORM = "multipart/form-data"
_Part = BodyPartReader | MultipartReader | None
_Read = TypeVar("_Read")


def read_upload(request: web.Request, slots: UploadSlots) -> AsyncIterator[bytes]:
    """Return the parts of the file in the body, as they arrive.

    A `multipart/form-data` body has the file in its part `file`, and no other part. Any other body
    is the file, whatever its Content-Type says. Iterating raises `RequestTooLarge`,
    `RequestTooSlow`, `MalformedRequest` and `InvalidRequest`.
    """
    is_form = request.content_type == _FORM
    limit = FILE_BYTES_MAX + FORM_BYTES if is_form else FILE_BYTES_MAX
    if (request.content_length or 0) > limit:
        raise RequestTooLarge(FILE_BYTES_MAX)
    allow_body_seconds(request, UPLOAD_SECONDS)
    parts = _form_file(request) if is_form else _raw_file(request)
    return _translated(parts, request, limit, slots)


async def _translated(
    parts: AsyncIterator[bytes], request: web.Request, limit: int, slots: UploadSlots
) -> AsyncIterator[bytes]:
    try:
        async for part in parts:
            if request.content.total_bytes > limit:
                raise RequestTooLarge(FILE_BYTES_MAX)
            for start in range(0, len(part), PART_BYTES):
                await slots.wait_for_turn()
                yield part[start : start + PART_BYTES]
    except TimeoutError:
        raise RequestTooSlow(f"nothing arrived for {SILENCE_SECONDS:g} s") from None
    except BROKEN_OFF as error:
        raise MalformedRequest("the body broke off before its end") from error


async def iterate_form(request: web.Request, seconds: float) -> AsyncIterator[BodyPartReader]:
    """Yield the parts of a form whose body takes at most `seconds`. Read each with `read_part`.

    Raises `RequestTooSlow` and `MalformedRequest`, as `read_part` does.
    """
    allow_body_seconds(request, seconds)
    with _translated_errors():
        form = MultipartReader(request.headers, request.content)
    while True:
        with _translated_errors():
            part = await _within_silence(form.next())
        if part is None:
            return
        if not isinstance(part, BodyPartReader):
            raise MalformedRequest("a part of the form is a form itself")
        yield part


async def read_part(part: BodyPartReader) -> AsyncIterator[bytes]:
    """Yield the bytes of one part, as they arrive."""
    while True:
        with _translated_errors():
            data = await _within_silence(part.read_chunk(PART_BYTES))
        if not data:
            return
        yield data


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise RequestTooSlow(f"nothing arrived for {SILENCE_SECONDS:g} s") from None
    except BROKEN_OFF as error:
        raise MalformedRequest("the body broke off before its end") from error
    except (ValueError, AssertionError, RuntimeError) as error:
        # What aiohttp raises for a form that it cannot read.
        raise MalformedRequest(f"the body is no form as RFC 7578 has it: {error!s:.100}") from error


async def _raw_file(request: web.Request) -> AsyncIterator[bytes]:
    while part := await _within_silence(request.content.readany()):
        yield part


async def _form_file(request: web.Request) -> AsyncIterator[bytes]:
    try:
        form = MultipartReader(request.headers, request.content)
        file = _require_file(await _within_silence(form.next()))
        while data := await _within_silence(file.read_chunk(PART_BYTES)):
            yield data
        rest = await _within_silence(form.next())
    except (ValueError, AssertionError, RuntimeError) as error:
        # What aiohttp raises for a form that it cannot read.
        raise MalformedRequest(f"the body is no form as RFC 7578 has it: {error!s:.100}") from error
    if rest is not None:
        raise InvalidRequest([_foreign_part(rest)])


def _require_file(part: _Part) -> BodyPartReader:
    if part is None:
        raise InvalidRequest([Fault(FILE_FIELD, "is missing: send it as a part of the form")])
    if not isinstance(part, BodyPartReader) or part.name != FILE_FIELD:
        raise InvalidRequest([_foreign_part(part)])
    return part


def _foreign_part(part: BodyPartReader | MultipartReader) -> Fault:
    name = (part.name if isinstance(part, BodyPartReader) else None) or ""
    sentence = f"is not a part of an upload; allowed: {FILE_FIELD}, once and alone"
    return Fault(format_field_name(name), sentence)


async def _within_silence(step: Awaitable[_Read]) -> _Read:
    async with asyncio.timeout(SILENCE_SECONDS):
        return await step
