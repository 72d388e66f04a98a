"""Makes a small WebP of a stored image, once, and keeps it in the store beside the image."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from weakref import WeakValueDictionary

from producer.results.stored_images import StoredImage, StoredImages
from shared.adapters.results_store import StoredObject
from shared.domain.image_bytes import PIXELS_MAX
from shared.errors import NotFound

THUMBNAIL_PIXELS = 256
"""The most pixels of its width and of its height."""
CONTENT_TYPE = "image/webp"
IMAGE_BYTES_MAX = 32 * 1024 * 1024
"""A larger image is not decoded."""
READ_AT_ONCE = 6
"""As many as a browser has connections to one host."""
DECODED_AT_ONCE = 2
_QUALITY = 80


class Thumbnails:
    """Makes thumbnails where there are none yet: a few at once, and each by one request alone.

    An image is whole in memory while its thumbnail is made, and needs four bytes per pixel while it
    is decoded. So more images are read at once, which a bucket takes long for, than are decoded.
    """

    def __init__(
        self, *, read_at_once: int = READ_AT_ONCE, decoded_at_once: int = DECODED_AT_ONCE
    ) -> None:
        self._reading = asyncio.Semaphore(read_at_once)
        self._decoding = asyncio.Semaphore(decoded_at_once)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def open(self, images: StoredImages, image: StoredImage) -> StoredObject:
        """Open the thumbnail of a stored image, and make it first if there is none.

        Raises `NotFound` for an image that cannot be made smaller, and `ResultsStoreDown`.
        """
        key = thumbnail_key(image.key or "")
        found = await images.store.open(key)
        if found is not None:
            return found
        lock = self._locks.setdefault(key, asyncio.Lock())
        others = lock.locked()
        async with lock:
            found = await images.store.open(key) if others else None
            if found is not None:
                return found
            async with self._reading:
                content = await self._make(images, image)
            await images.store.put(key, _chunks(content), CONTENT_TYPE)
        return StoredObject(len(content), _chunks(content))

    async def _make(self, images: StoredImages, image: StoredImage) -> bytes:
        if image.bytes > IMAGE_BYTES_MAX:
            raise _no_thumbnail(image, f"it has more than {IMAGE_BYTES_MAX:,} bytes")
        stored = await images.open(image)
        content = b"".join([chunk async for chunk in stored.chunks])
        async with self._decoding:
            try:
                return await asyncio.to_thread(make_thumbnail, content)
            except ValueError as error:
                raise _no_thumbnail(image, str(error)) from error


def thumbnail_key(key: str) -> str:
    """Return the key of the thumbnail of the image with this key."""
    return f"{key.rpartition('.')[0]}.thumbnail.webp"


def make_thumbnail(content: bytes) -> bytes:
    """Return the image as a WebP of at most 256 by 256 pixels. Raises `ValueError`.

    Nothing is decoded of an image that claims more than 100,000,000 pixels.
    """
    from PIL import Image  # noqa: PLC0415 - of the extra `results`

    try:
        with Image.open(BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > PIXELS_MAX:
                raise ValueError(f"it has more than {PIXELS_MAX:,} pixels")
            # A JPEG is decoded at a fraction of its size.
            image.draft("RGB", (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
            small = image.convert("RGBA" if image.has_transparency_data else "RGB")
            small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
            written = BytesIO()
            small.save(written, "WEBP", quality=_QUALITY)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"it cannot be decoded: {error}") from error
    return written.getvalue()


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _no_thumbnail(image: StoredImage, why: str) -> NotFound:
    return NotFound(f"image {image.number} of job {image.job_id} has no thumbnail: {why}")
