"""The type and the dimensions of an image are read from its bytes alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.image_bytes import ImageHead, ImageReader, ImageType, NotAnImage
from tests.support.example_images import encoded_image, png_of

IMAGES = {
    "png": encoded_image("PNG"),
    "jpeg": encoded_image("JPEG"),
    "progressive jpeg": encoded_image("JPEG", progressive=True),
    "jpeg with a large profile": encoded_image("JPEG", icc_profile=bytes(200_000)),
    "jpeg with exif": encoded_image("JPEG", exif=b"Exif\0\0" + bytes(5_000)),
    "lossy webp": encoded_image("WEBP"),
    "lossless webp": encoded_image("WEBP", lossless=True),
    "webp with exif": encoded_image("WEBP", exif=b"Exif\0\0MM\0*"),
}
TYPES = {"png": ImageType.PNG, "jpeg": ImageType.JPEG, "webp": ImageType.WEBP}


def read(data: bytes, part_bytes: int = 1 << 30) -> ImageHead:
    reader = ImageReader()
    for start in range(0, len(data), part_bytes):
        reader.feed(data[start : start + part_bytes])
    return reader.finish()


def refusal(data: bytes) -> str:
    with pytest.raises(NotAnImage) as refused:
        read(data)
    return str(refused.value)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_has_its_type_and_its_dimensions(name: str) -> None:
    expected = next(one for word, one in TYPES.items() if word in name)
    assert read(IMAGES[name]) == ImageHead(expected, 37, 23)


@given(name=st.sampled_from(sorted(IMAGES)), part_bytes=st.integers(1, 4_000))
def test_it_makes_no_difference_in_which_parts_an_image_arrives(name: str, part_bytes: int) -> None:
    assert read(IMAGES[name], part_bytes) == read(IMAGES[name])


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_that_is_cut_off_is_refused(name: str) -> None:
    whole = IMAGES[name]
    for length in (13, 20, 40, len(whole) // 2, len(whole) - 1):
        assert refusal(whole[:length]).startswith("is cut off"), length


@given(
    data=st.binary(max_size=200), head=st.sampled_from([b"", *(i[:30] for i in IMAGES.values())])
)
def test_any_bytes_are_an_image_or_refused(data: bytes, head: bytes) -> None:
    try:
        found = read(head + data, 7)
    except NotAnImage:
        return
    assert found.width * found.height > 0


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\x89PNG", "only 4 bytes"),
        (b"GIF89a" + bytes(20), "is a GIF"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "such as SVG"),
        (b"\xef\xbb\xbf <!doctype html><script>", "such as SVG or HTML"),
        (b"\0\0\0\x1cftypavif" + bytes(20), "an AVIF"),
        (b"%PDF-1.7\n" + bytes(20), "a PDF"),
        (bytes(100), "no image that is known"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "header is damaged"),
        (b"\xff\xd8\xff\xe0\0\x01" + bytes(60), "header is damaged"),
        (b"RIFF\xff\0\0\0WEBPXXXX" + bytes(60), "header is damaged"),
        (png_of(40_000, 25_000, (b"IDAT", b""), (b"IEND", b"")), "40,000 by 25,000 pixels"),
        (png_of(0, 5, (b"IDAT", b""), (b"IEND", b"")), "0 by 5 pixels"),
        (png_of(5, 5, (b"IEND", b"")), "without pixels"),
        (IMAGES["png"] + b"<script>", "after its end"),
        (IMAGES["lossy webp"] + b"PK\x03\x04", "after its end"),
        (png_of(5, 5, *[(b"tEXt", b"")] * 30_000), "more than 50,000 parts"),
    ],
)
def test_what_is_no_image_of_these_types_is_refused_by_name(data: bytes, words: str) -> None:
    assert words in refusal(data)


def test_an_image_is_refused_as_soon_as_its_first_bytes_are_read() -> None:
    reader = ImageReader()
    with pytest.raises(NotAnImage):
        reader.feed(b"<svg xmlns=....")
    bomb = ImageReader()
    with pytest.raises(NotAnImage):
        bomb.feed(png_of(1_000_000_000, 1_000_000_000)[:40])


def test_data_after_a_jpeg_is_kept_as_cameras_write_it() -> None:
    assert read(IMAGES["jpeg"] + IMAGES["jpeg"]) == ImageHead(ImageType.JPEG, 37, 23)
