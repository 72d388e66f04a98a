"""Pictures are real PNGs that differ from task to task."""

from __future__ import annotations

import struct
import zlib

import pytest

from worker.simulator.png_images import draw_picture


def read_png(png: bytes) -> tuple[int, int, bytes]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    position, chunks = 8, {}
    while position < len(png):
        (length,) = struct.unpack_from(">I", png, position)
        kind = png[position + 4 : position + 8]
        body = png[position + 8 : position + 8 + length]
        (check,) = struct.unpack_from(">I", png, position + 8 + length)
        assert check == zlib.crc32(kind + body)
        chunks[kind] = body
        position += 12 + length
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    assert b"IEND" in chunks
    return width, height, zlib.decompress(chunks[b"IDAT"])


@pytest.mark.parametrize(("size", "ratio"), [("1:1", 1.0), ("3:2", 1.5), ("2:3", 2 / 3)])
def test_a_picture_has_its_aspect_ratio_and_every_pixel(size: str, ratio: float) -> None:
    width, height, pixels = read_png(draw_picture("a task", size))
    assert width / height == pytest.approx(ratio)
    assert len(pixels) == height * (1 + 3 * width)
    assert len(set(pixels)) > 4


def test_the_same_task_has_the_same_picture_and_another_task_another() -> None:
    assert draw_picture("a", "1:1") == draw_picture("a", "1:1")
    assert draw_picture("a", "1:1") != draw_picture("b", "1:1")
