"""Thumbnails: small, whatever the image is, and nothing of a bomb is decoded."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image

from producer.results.thumbnails import make_thumbnail


def encoded(name: str, mode: str, size: tuple[int, int]) -> bytes:
    written = BytesIO()
    Image.new(mode, size).save(written, name)
    return written.getvalue()


@pytest.mark.parametrize(
    ("name", "mode", "size", "small"),
    [
        ("PNG", "RGBA", (1024, 1536), (171, 256)),
        ("PNG", "P", (512, 512), (256, 256)),
        ("JPEG", "L", (2000, 100), (256, 13)),
        ("WEBP", "RGB", (20, 10), (20, 10)),
    ],
)
def test_a_thumbnail_is_a_small_webp(
    name: str, mode: str, size: tuple[int, int], small: tuple[int, int]
) -> None:
    with Image.open(BytesIO(make_thumbnail(encoded(name, mode, size)))) as made:
        assert (made.format, made.size) == ("WEBP", small)


def bomb() -> bytes:
    head = b"IHDR" + struct.pack(">II", 60_000, 60_000) + bytes((8, 2, 0, 0, 0))
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize("content", [bomb(), b"", b"<html>", encoded("PNG", "RGB", (99, 99))[:80]])
def test_what_cannot_be_decoded_has_none(content: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        make_thumbnail(content)
