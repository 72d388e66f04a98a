"""Images for tests, small and large, good and bad."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

from PIL import Image


def encoded_image(kind: str, width: int = 37, height: int = 23, **options: Any) -> bytes:
    """Return an image that Pillow has encoded."""
    made = io.BytesIO()
    picture = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    picture.save(made, kind, **options)
    return made.getvalue()


def edit_mask(width: int, height: int) -> bytes:
    """Return a mask of OpenAI that changes the left half."""
    picture = Image.new("RGBA", (width, height), (0, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, width // 2, height))
    made = io.BytesIO()
    picture.save(made, "PNG")
    return made.getvalue()


def png_of(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG that claims these dimensions and has these chunks after its header."""
    head = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (head, *chunks)
    )


@cache
def large_png(length: int) -> bytes:
    """Return a PNG of exactly this many bytes."""
    around = len(png_of(64, 64, (b"IDAT", b""), (b"IEND", b"")))
    return png_of(64, 64, (b"IDAT", bytes(length - around)), (b"IEND", b""))
