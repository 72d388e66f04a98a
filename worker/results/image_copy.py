"""Copies one image: reads it once, and stores, measures and hashes it on the way."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from shared.adapters.http.image_download import DownloadFailed, ImageDownloader
from shared.adapters.results_store import ResultsStore
from shared.domain.image_bytes import ImageHead, ImageReader, NotAnImage

IMAGE_BYTES_MAX = 100 * 1024 * 1024
_HEAD_BYTES_MAX = 1024 * 1024
"""Dimensions beyond this are not looked for. Before them a JPEG may have profiles and previews."""


@dataclass(frozen=True, slots=True)
class WaitingImage:
    """An image whose copy this worker has claimed."""

    job_id: UUID
    position: int
    tries: int
    """The number of this try, by which its result is accepted."""
    kie_url: str
    provider_task_id: str
    retry_until: datetime
    created_at: datetime
    family: str
    """The family by which it was made, which decides how Kie is asked for another link."""
    provider_account: str | None


@dataclass(frozen=True, slots=True)
class CopiedImage:
    """What was stored."""

    key: str
    head: ImageHead
    bytes: int
    sha256: str


async def copy_image(
    downloader: ImageDownloader, store: ResultsStore, image: WaitingImage, url: str
) -> CopiedImage:
    """Copy the image from a link into the store.

    At most 1 MiB of it is in memory, and a part of the store. Raises `DownloadFailed` and
    `ResultsStoreDown`, and stores nothing then.
    """
    async with downloader.open(url) as chunks:
        reading = _Reading(chunks)
        head = await reading.read_head()
        key = storage_key(image, head.type.extension)
        await store.put(key, reading.chunks(), head.type.value)
    return CopiedImage(key, head, reading.length, reading.digest.hexdigest())


def storage_key(image: WaitingImage, extension: str) -> str:
    """Return the key of an image. A later try has the same."""
    return (
        f"{image.created_at.astimezone(UTC):%Y/%m/%d}/{image.job_id}/{image.position}.{extension}"
    )


class _Reading:
    """An image that is read: its first bytes, then all of them."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._rest = chunks
        self._start: list[bytes] = []
        self.length = 0
        self.digest = hashlib.sha256()

    async def read_head(self) -> ImageHead:
        """Read until type and dimensions are known. What follows is stored as it comes."""
        reader = ImageReader()
        try:
            async for chunk in self._rest:
                self._start.append(chunk)
                reader.feed(chunk)
                if reader.head is not None:
                    return reader.head
                if reader.length > _HEAD_BYTES_MAX:
                    break
            reader.finish()
        except NotAnImage as fault:
            if reader.head is not None:
                return reader.head
            raise DownloadFailed(f"what the link answers {fault}") from fault
        raise DownloadFailed("the dimensions of the image are not near its beginning")

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the whole image."""
        while self._start:
            yield self._count(self._start.pop(0))
        async for chunk in self._rest:
            yield self._count(chunk)

    def _count(self, chunk: bytes) -> bytes:
        self.length += len(chunk)
        if self.length > IMAGE_BYTES_MAX:
            raise DownloadFailed(f"the image has more than {IMAGE_BYTES_MAX:,} bytes")
        self.digest.update(chunk)
        return chunk
