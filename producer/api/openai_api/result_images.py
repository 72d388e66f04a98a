"""Fetches the images of jobs for callers that want them in the answer, as base64.

Kie's links are fetched from public addresses only. An image goes to a temporary file, so that
answers of any number of images need little memory.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO

import aiohttp
from yarl import URL

from shared.adapters.http.dns_resolver import ThreadedResolver
from shared.adapters.http.public_session import open_public_session
from shared.domain.public_addresses import find_url_fault

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


class ResultImages:
    """Fetches images, up to `MAX_FETCHES_AT_ONCE` at a time in this process."""

    def __init__(self, session: aiohttp.ClientSession, *, allow_loopback: bool) -> None:
        self._session, self._allow_loopback = session, allow_loopback
        self._slots = asyncio.Semaphore(MAX_FETCHES_AT_ONCE)

    async def fetch_all(self, urls: Sequence[str]) -> list[FetchedImage]:
        """Return the images in the order of the URLs. Raises `ImageNotFetched`."""
        fetches = [asyncio.create_task(self._fetch(url)) for url in urls]
        try:
            return list(await asyncio.gather(*fetches))
        except BaseException:
            for fetch in fetches:
                fetch.cancel()
            for ended in await asyncio.gather(*fetches, return_exceptions=True):
                if isinstance(ended, FetchedImage):
                    ended.file.close()
            raise

    async def _fetch(self, url: str) -> FetchedImage:
        fault = find_url_fault(url, allow_loopback=self._allow_loopback)
        if fault is not None:
            raise ImageNotFetched(f"an address {fault}")
        file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
        try:
            async with self._slots:
                length, first = await self._copy(url, file)
            return FetchedImage(file, length, _format_of(first))
        except BaseException as error:
            file.close()
            if isinstance(error, TimeoutError):
                raise ImageNotFetched(f"one did not come in {TIMEOUT_SECONDS:g} s") from error
            if isinstance(error, aiohttp.ClientError | OSError | ValueError):
                raise ImageNotFetched("one could not be fetched or kept") from error
            raise

    async def _copy(self, url: str, file: IO[bytes]) -> tuple[int, bytes]:
        """Copy the image to the file. Return its length and its first bytes."""
        first, length = b"", 0
        async with self._session.get(URL(url, encoded=True), allow_redirects=False) as response:
            if response.status != 200:
                raise ImageNotFetched(f"the address of one answers {response.status}")
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
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
async def open_result_images(*, allow_loopback: bool) -> AsyncIterator[ResultImages]:
    """Open what fetches images. `allow_loopback` is for a simulated Kie on this machine."""
    resolver = ThreadedResolver(MAX_FETCHES_AT_ONCE)
    session = open_public_session(
        resolver=resolver, timeout_seconds=TIMEOUT_SECONDS, allow_loopback=allow_loopback
    )
    try:
        yield ResultImages(session, allow_loopback=allow_loopback)
    finally:
        await session.close()
        await resolver.close()
