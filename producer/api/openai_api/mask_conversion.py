"""Converts a mask of OpenAI to one of Kie.

OpenAI changes the image where the mask is fully transparent. Kie changes it where the mask is
black, and keeps it where it is white.
"""

from __future__ import annotations

import asyncio
import io
import struct
from http import HTTPStatus

from producer.api.responses.http_errors import HttpRefusal
from shared.errors import Fault, InvalidRequest

PIXELS_MAX = 16_777_216
"""The most pixels of a mask. Each needs nine bytes while it is converted."""
_PNG_HEAD = struct.Struct(">8s8xII")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = 255


class MasksNotInstalled(HttpRefusal):
    """Pillow, which decodes masks, is not installed."""

    code = "masks_not_installed"
    status = HTTPStatus.NOT_IMPLEMENTED

    def __init__(self) -> None:
        super().__init__("this server cannot read masks: install Darkroom with the extra `results`")


class MaskConverter:
    """Converts masks one at a time, beside the event loop, so that they need little memory."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def convert(self, mask: bytes, image_size: tuple[int, int]) -> bytes:
        """Return the mask for Kie, a PNG.

        `image_size` is the size of the image, which the mask must have. Raises `InvalidRequest`,
        and `MasksNotInstalled` without Pillow.
        """
        _check_size(mask, image_size)
        async with self._lock:
            return await asyncio.to_thread(_convert, mask)


def _check_size(mask: bytes, image_size: tuple[int, int]) -> None:
    """Raise `InvalidRequest` before anything is decoded."""
    if not mask.startswith(_PNG_SIGNATURE) or len(mask) < _PNG_HEAD.size:
        raise _refusal("must be a PNG")
    _, width, height = _PNG_HEAD.unpack_from(mask)
    if (width, height) != image_size:
        size = f"{image_size[0]}x{image_size[1]}"
        raise _refusal(f"is {width}x{height}; it must have the size of the first image, {size}")
    if width * height > PIXELS_MAX:
        raise _refusal(f"has {width * height:,} pixels; at most {PIXELS_MAX:,} are allowed")


def _convert(mask: bytes) -> bytes:
    try:
        from PIL import Image  # noqa: PLC0415  # an extra that may be missing
    except ImportError as error:
        raise MasksNotInstalled from error
    converted = io.BytesIO()
    try:
        with Image.open(io.BytesIO(mask), formats=("PNG",)) as given:
            if not given.has_transparency_data:
                raise _refusal("has no transparent areas: they say what is changed")
            alpha = given.convert("RGBA").getchannel("A")
    except (OSError, SyntaxError, ValueError) as error:
        raise _refusal("cannot be read as a PNG") from error
    kept = alpha.point([0, *[_KEPT] * 255])
    if kept.getextrema() == (_KEPT, _KEPT):
        raise _refusal("has no fully transparent areas: they say what is changed")
    kept.convert("RGB").save(converted, "PNG")
    return converted.getvalue()


def _refusal(sentence: str) -> InvalidRequest:
    return InvalidRequest([Fault("mask", sentence)])
