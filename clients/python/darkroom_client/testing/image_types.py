"""Reads type and dimensions of an image from its bytes, without decoding it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SHORTEST = 12
_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


@dataclass(frozen=True)
class ImageHead:
    """What the first bytes of an image say."""

    content_type: str
    width: int
    height: int


def read_image_head(data: bytes) -> ImageHead | str:
    """Return what the bytes say, or a sentence on why they are no PNG, JPEG or WebP."""
    allowed = "allowed: a PNG, a JPEG or a WebP"
    if not data:
        return f"is empty; {allowed}"
    if len(data) < _SHORTEST:
        return f"is only {len(data)} bytes long; {allowed}"
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return ImageHead("image/png", *struct.unpack_from(">II", data, 16))
        if data.startswith(b"\xff\xd8\xff"):
            return ImageHead("image/jpeg", *_jpeg_size(data))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return ImageHead("image/webp", *_webp_size(data))
    except (struct.error, IndexError):
        return f"is cut off; {allowed}"
    return f"is no image that is known here; {allowed}"


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
