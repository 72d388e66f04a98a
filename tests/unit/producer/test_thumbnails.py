"""Thumbnails: small, whatever the image is, and nothing of a bomb is decoded."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from io import BytesIO
from uuid import UUID

import pytest
from obstore.store import MemoryStore
from PIL import Image

from producer.results.stored_images import StoredImage, StoredImages
from producer.results.thumbnails import Thumbnails, make_thumbnail
from shared.adapters.results_store import ResultsStore, StoredObject
from tests.support.deployment import eventually


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


class CountedStore(ResultsStore):
    """A store in memory that counts what is read at once, and what is written."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.reading = self.most = 0
        self.written: list[str] = []
        self.ready = asyncio.Event()

    async def open(self, key: str) -> StoredObject | None:
        if key.endswith(".webp"):
            return await super().open(key)
        self.reading += 1
        self.most = max(self.most, self.reading)
        await self.ready.wait()
        self.reading -= 1
        return await super().open(key)

    async def put(self, key: str, chunks: AsyncIterator[bytes], content_type: str) -> None:
        self.written.append(key)
        await super().put(key, chunks, content_type)


class ImagesIn(StoredImages):
    """The images of a store that a test has made."""

    def __init__(self, store: ResultsStore) -> None:
        self._store = store


def stored(key: str) -> StoredImage:
    return StoredImage(UUID(int=1), 1, "https://kie.example/1.png", key, "image/png", "ab", 99)


async def pictures(store: CountedStore, count: int) -> list[StoredImage]:
    """Store pictures, and return what is known of them."""
    picture = encoded("PNG", "RGB", (300, 300))
    images = [stored(f"2026/{number}.png") for number in range(count)]
    for image in images:
        await store.put(image.key or "", _once(picture), "image/png")
    store.written.clear()
    return images


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_thumbnails_are_made_side_by_side_but_only_so_many() -> None:
    store, thumbnails = CountedStore(), Thumbnails(read_at_once=3)
    images = await pictures(store, 8)
    making = [asyncio.create_task(thumbnails.open(ImagesIn(store), image)) for image in images]

    async def three_are_read() -> bool:
        return store.reading == 3

    await eventually(three_are_read, "three images are read side by side")
    store.ready.set()
    made = await asyncio.gather(*making)
    assert store.most == 3
    assert len(store.written) == len(images)
    assert all(one.size > 0 for one in made)


async def test_requests_for_the_same_thumbnail_make_it_once() -> None:
    store, thumbnails = CountedStore(), Thumbnails()
    (image,) = await pictures(store, 1)
    making = [asyncio.create_task(thumbnails.open(ImagesIn(store), image)) for _ in range(5)]

    async def is_read() -> bool:
        return store.reading == 1

    await eventually(is_read, "the image is read")
    making[0].cancel()  # its browser has left
    store.ready.set()
    made = await asyncio.gather(*making[1:])
    assert len({one.size for one in made}) == 1
    assert store.written == ["2026/0.thumbnail.webp"]
