"""A mask of OpenAI, transparent where the image changes, becomes one of Kie, black there."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from producer.api.openai_api.mask_conversion import PIXELS_MAX, MaskConverter
from shared.errors import InvalidRequest
from tests.support.example_images import encoded_image, png_of

SIZE = (40, 20)


def encoded(picture: Image.Image, **options: Any) -> bytes:
    made = io.BytesIO()
    picture.save(made, "PNG", **options)
    return made.getvalue()


def rgba_mask() -> bytes:
    """Return a mask whose left half is opaque, and whose right half has alpha 1, then 0."""
    picture = Image.new("RGBA", SIZE, (200, 100, 50, 255))
    picture.paste((200, 100, 50, 1), (20, 0, 30, 20))
    picture.paste((255, 255, 255, 0), (30, 0, 40, 20))
    return encoded(picture)


def grey_mask() -> bytes:
    picture = Image.new("LA", SIZE, (0, 255))
    picture.paste((0, 0), (30, 0, 40, 20))
    return encoded(picture)


def palette_mask() -> bytes:
    picture = Image.new("P", SIZE, 1)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.paste(0, (30, 0, 40, 20))
    return encoded(picture, transparency=0)


@pytest.mark.parametrize("mask", [rgba_mask(), grey_mask(), palette_mask()])
async def test_only_what_is_fully_transparent_becomes_black(mask: bytes) -> None:
    converted = await MaskConverter().convert(mask, SIZE)
    with Image.open(io.BytesIO(converted)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", SIZE)
        row = [picture.getpixel((x, 10)) for x in range(SIZE[0])]
    assert row == [(255, 255, 255)] * 30 + [(0, 0, 0)] * 10


@pytest.mark.parametrize(
    ("mask", "size", "sentence"),
    [
        (encoded_image("JPEG", *SIZE), SIZE, "must be a PNG"),
        (b"", SIZE, "must be a PNG"),
        (rgba_mask(), (41, 20), "is 40x20; it must have the size of the first image, 41x20"),
        (encoded_image("PNG", *SIZE), SIZE, "has no transparent areas"),
        (encoded(Image.new("RGBA", SIZE, (1, 2, 3, 255))), SIZE, "no fully transparent areas"),
        (rgba_mask()[:-40], SIZE, "cannot be read as a PNG"),
        (png_of(5000, 5000), (5000, 5000), f"at most {PIXELS_MAX:,}"),
    ],
)
async def test_another_file_is_refused_as_the_mask(
    mask: bytes, size: tuple[int, int], sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as refused:
        await MaskConverter().convert(mask, size)
    assert [fault.field for fault in refused.value.faults] == ["mask"]
