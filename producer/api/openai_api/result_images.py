"""Reads the images of jobs for callers that want them in the answer, as base64.

A copy in the store of RESULTS_URL is read from there. Otherwise Kie's link is fetched, from public
addresses only. An image goes to a temporary file, so that answers of any number of images need
little memory.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import IO
from uuid import UUID

import aiohttp
from yarl import URL

from producer.results.stored_images import StoredImages
from shared.adapters.http.dns_resolver import ThreadedResolver
from shared.adapters.http.public_session import PublicSession
from shared.adapters.results_store import StoredObject
from shared.domain.job import Job
from shared.domain.outbound_proxies import NO_PROXIES, OutboundProxies
from shared.domain.public_addresses import find_url_fault
from shared.errors import DarkroomError, NotFound, ResultsStoreDown

IMAGE_BYTES_MAX = 64 * 1024 * 1024
TIMEOUT_SECONDS = 60.0
"""For one image, from the name look-up to its last byte."""
MAX_FETCHES_AT_ONCE = 32
_PIECE_BYTES = 64 * 1024
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"RIFF", "webp"),
    (b"GIF8", "gif"),
)


class ImageNotFetched(Exception):
    """An image could not be fetched. The text completes a sentence that begins with "but"."""


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """An image in a temporary file, which the owner closes."""

    file: IO[bytes]
    length: int
    format: str
    """`png`, `jpeg`, `webp` or `gif`, by its first bytes."""


@dataclass(frozen=True, slots=True)
class ResultImage:
    """An image that a job has delivered."""

    job_id: UUID
    number: int
    """Counted from 1 among the images of the job that are copied."""
    kie_url: str
    is_stored: bool
    """Whether there is a copy."""


def list_result_images(job: Job) -> list[ResultImage]:
    """Return the images of `result_urls`, in their order."""
    copied = {image.kie_url: (number, image) for number, image in enumerate(job.images, 1)}
    images = []
    for url in job.kie_result_urls:
        number, image = copied.get(url, (0, None))
        images.append(ResultImage(job.id, number, url, image is not None and image.is_stored))
    return images


class ResultImages:
    """Reads images, up to `MAX_FETCHES_AT_ONCE` at a time in this process."""

    def __init__(self, session: PublicSession, *, allow_loopback: bool) -> None:
        self._session, self._allow_loopback = session, allow_loopback
        self._slots = asyncio.Semaphore(MAX_FETCHES_AT_ONCE)

    async def fetch_all(
        self, images: Sequence[ResultImage], copies: StoredImages
    ) -> list[FetchedImage]:
        """Return the images in their order. Raises `ImageNotFetched`."""
        fetches = [asyncio.create_task(self._fetch(image, copies)) for image in images]
        try:
            return list(await asyncio.gather(*fetches))
        except BaseException:
            for fetch in fetches:
                fetch.cancel()
            for ended in await asyncio.gather(*fetches, return_exceptions=True):
                if isinstance(ended, FetchedImage):
                    ended.file.close()
            raise

    async def _fetch(self, image: ResultImage, copies: StoredImages) -> FetchedImage:
        file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
        try:
            async with (
                self._slots,
                asyncio.timeout(TIMEOUT_SECONDS),
                aclosing(self._read(image, copies)) as chunks,
            ):
                length, first = await _copy(chunks, file)
            return FetchedImage(file, length, _format_of(first))
        except BaseException as error:
            file.close()
            if isinstance(error, TimeoutError):
                raise ImageNotFetched(f"one did not come in {TIMEOUT_SECONDS:g} s") from error
            if isinstance(error, aiohttp.ClientError | OSError | ValueError | DarkroomError):
                raise ImageNotFetched("one could not be fetched or kept") from error
            raise

    async def _read(self, image: ResultImage, copies: StoredImages) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of the copy, or of Kie's link if the copy cannot be opened."""
        copy = await self._open_copy(image, copies)
        if copy is not None:
            async for chunk in copy.chunks:
                yield chunk
            return
        fault = find_url_fault(image.kie_url, allow_loopback=self._allow_loopback)
        if fault is not None:
            raise ImageNotFetched(f"an address {fault}")
        url = URL(image.kie_url, encoded=True)
        async with await self._session.request("GET", url) as response:
            if response.status != 200:
                raise ImageNotFetched(f"the address of one answers {response.status}")
            async for chunk in response.content.iter_chunked(_PIECE_BYTES):
                yield chunk

    async def _open_copy(self, image: ResultImage, copies: StoredImages) -> StoredObject | None:
        if not image.is_stored or copies.options.url is None:
            return None
        try:
            return await copies.open(await copies.find(image.job_id, image.number))
        except (ResultsStoreDown, NotFound):
            return None


async def _copy(chunks: AsyncIterator[bytes], file: IO[bytes]) -> tuple[int, bytes]:
    """Copy the image to the file. Return its length and its first bytes."""
    first, length = b"", 0
    async for piece in chunks:
        length += len(piece)
        if length > IMAGE_BYTES_MAX:
            raise ImageNotFetched(f"one has more than {IMAGE_BYTES_MAX:,} bytes")
        first = first or piece[:16]
        file.write(piece)
    file.flush()
    return length, first


def _format_of(first: bytes) -> str:
    for signature, name in _SIGNATURES:
        if first.startswith(signature):
            return name
    raise ImageNotFetched("what came from the address of one is no image")


@asynccontextmanager
async def open_result_images(
    *, allow_loopback: bool, proxies: OutboundProxies = NO_PROXIES
) -> AsyncIterator[ResultImages]:
    """Open what fetches images. `allow_loopback` is for a simulated Kie on this machine."""
    resolver = ThreadedResolver(MAX_FETCHES_AT_ONCE)
    try:
        async with PublicSession(
            resolver=resolver,
            timeout_seconds=TIMEOUT_SECONDS,
            allow_loopback=allow_loopback,
            proxies=proxies,
        ) as session:
            yield ResultImages(session, allow_loopback=allow_loopback)
    finally:
        await resolver.close()
