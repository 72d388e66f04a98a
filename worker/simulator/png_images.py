"""Draws small PNG images, different for every task, with zlib alone."""

from __future__ import annotations

import colorsys
import hashlib
import math
import struct
import zlib

_SIDE_MAX = 4_096
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EMPTY_CHUNK_BYTES = 12
_EIGHT_BIT_RGB = bytes((8, 2, 0, 0, 0))


def draw_picture(seed_text: str, size: str, *, shorter_side: int = 1_024, kib: int = 0) -> bytes:
    """A PNG of diagonal waves whose colours and slope follow from the text; size is a ratio.

    It is padded to this many KiB where it is smaller.
    """
    parts = [int(part) for part in size.split(":")]
    side = min(max(shorter_side, 1), _SIDE_MAX)
    width, height = (side * part // min(parts) for part in parts)
    digest = hashlib.sha256(seed_text.encode("utf-8", "surrogatepass")).digest()
    row = _wave_row(width, digest)
    slope = 1 + digest[7] % 3
    # Each line is the first one rotated: one byte shuffle instead of a loop over its pixels.
    lines = []
    for y in range(height):
        shift = (y * slope % width) * 3
        lines.append(b"\x00" + row[shift:] + row[:shift])
    head = _SIGNATURE + _chunk(b"IHDR", struct.pack(">II", width, height) + _EIGHT_BIT_RGB)
    pixels = _chunk(b"IDAT", zlib.compress(b"".join(lines), 1))
    end = _chunk(b"IEND", b"")
    missing = kib * 1024 - len(head) - len(pixels) - len(end) - _EMPTY_CHUNK_BYTES
    padding = _chunk(b"paDd", bytes(missing)) if missing >= 0 else b""
    return head + padding + pixels + end


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
