"""Draws small PNG images, different for every task, with zlib alone."""

from __future__ import annotations

import colorsys
import hashlib
import math
import struct
import zlib

_WIDTH_AND_HEIGHT = 400
"""The pixels of a picture's width and height together."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BIT_RGB = bytes((8, 2, 0, 0, 0))


def draw_picture(seed_text: str, size: str) -> bytes:
    """A PNG of diagonal waves whose colours and slope follow from the text; size is a ratio."""
    parts = [int(part) for part in size.split(":")]
    width, height = (_WIDTH_AND_HEIGHT * part // sum(parts) for part in parts)
    digest = hashlib.sha256(seed_text.encode("utf-8", "surrogatepass")).digest()
    row = _wave_row(width, digest)
    slope = 1 + digest[7] % 3
    # Each line is the first one rotated: one byte shuffle instead of a loop over its pixels.
    lines = []
    for y in range(height):
        shift = (y * slope % width) * 3
        lines.append(b"\x00" + row[shift:] + row[:shift])
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">II", width, height) + _EIGHT_BIT_RGB),
            _chunk(b"IDAT", zlib.compress(b"".join(lines), 1)),
            _chunk(b"IEND", b""),
        )
    )


def _wave_row(width: int, digest: bytes) -> bytes:
    hue = digest[0] / 256.0
    dark = colorsys.hsv_to_rgb(hue, 0.45 + digest[1] / 1024.0, 0.2 + digest[2] / 1024.0)
    light = colorsys.hsv_to_rgb(hue + (digest[3] - 128) / 1024.0, 0.4, 0.8 + digest[4] / 1600.0)
    waves = 1 + digest[6] % 3
    row = bytearray()
    for x in range(width):
        share = (1.0 + math.cos(2.0 * math.pi * waves * x / width)) / 2.0
        row.extend(int(255.0 * (a + (b - a) * share)) for a, b in zip(dark, light, strict=True))
    return bytes(row)


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
