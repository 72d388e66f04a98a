"""Reads the form of an image edit: its images pass on as they arrive, its other parts are fields.

The parts may come in any order. OpenAI's SDKs name one image `image` and several `image[]`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from producer.api.requests.upload_body import iterate_form, read_part
from producer.api.responses.http_errors import UnsupportedContent
from producer.files.uploaded_file import UploadedFile
from shared.errors import Fault, InvalidRequest
from shared.field_faults import format_field_name

IMAGES_MAX = 16
MASK_BYTES_MAX = 4 * 1024 * 1024
"""OpenAI's limit for a mask."""
TEXT_BYTES_MAX = 256 * 1024
"""For all fields that are no files."""
FIELDS_MAX = 100
FORM_SECONDS = 300.0
"""For the whole form."""
_FORM = "multipart/form-data"
_IMAGE_NAMES = ("image", "image[]")
_NUMBERS = ("n", "partial_images", "output_compression")

UploadImage = Callable[[AsyncIterator[bytes]], Awaitable[UploadedFile]]


@dataclass(slots=True)
class EditForm:
    """What a form has."""

    fields: dict[str, Any] = field(default_factory=dict)
    images: list[UploadedFile] = field(default_factory=list)
    mask: bytes | None = None

    @property
    def content(self) -> Mapping[str, Any]:
        """What makes two forms equal, beside their masks: URLs of equal images may differ."""
        return {"fields": self.fields, "images": [image.sha256 for image in self.images]}


async def read_edit_form(request: web.Request, upload: UploadImage) -> EditForm:
    """Return the form of the body, whose images `upload` has taken.

    Raises `UnsupportedContent` for another body, `MalformedRequest`, `RequestTooSlow`, and
    `InvalidRequest`.
    """
    if request.content_type != _FORM:
        raise UnsupportedContent(
            f"the body must be sent as {_FORM}, as the SDKs do, not {request.content_type}"
        )
    form, text_bytes = EditForm(), 0
    async for part in iterate_form(request, FORM_SECONDS):
        name = part.name or ""
        if name in _IMAGE_NAMES:
            if len(form.images) == IMAGES_MAX:
                raise InvalidRequest([Fault("image", f"has more than {IMAGES_MAX} images")])
            form.images.append(await upload(read_part(part)))
        elif name == "mask":
            _require_first(name, is_first=form.mask is None)
            form.mask = await _read_bytes(part, MASK_BYTES_MAX)
        else:
            _require_first(name, is_first=name not in form.fields)
            data = await _read_bytes(part, TEXT_BYTES_MAX - text_bytes)
            text_bytes += len(data)
            form.fields[name] = _read_field(name, data)
            if len(form.fields) > FIELDS_MAX:
                raise InvalidRequest([Fault("", f"has more than {FIELDS_MAX} fields")])
    if not form.images:
        raise InvalidRequest([Fault("image", "is missing: send it as a file of the form")])
    return form


def _require_first(name: str, *, is_first: bool) -> None:
    if not is_first:
        raise InvalidRequest([Fault(format_field_name(name), "is given more than once")])


async def _read_bytes(part: BodyPartReader, most: int) -> bytes:
    data = bytearray()
    async for piece in read_part(part):
        data += piece
        if len(data) > most:
            raise InvalidRequest(
                [Fault(format_field_name(part.name), f"is too long: {most:,} bytes are allowed")]
            )
    return bytes(data)


def _read_field(name: str, data: bytes) -> Any:
    """Return the value that the text of a form stands for."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InvalidRequest([Fault(format_field_name(name), "is not UTF-8")]) from None
    if name in _NUMBERS and text.isascii() and text.isdecimal() and len(text) <= 9:
        return int(text)
    if name == "stream":
        return {"true": True, "false": False}.get(text.lower(), text)
    return text
