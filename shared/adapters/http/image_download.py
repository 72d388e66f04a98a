"""Downloads images from links of Kie or of callers, from public addresses only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from urllib.parse import urljoin

import aiohttp
from aiohttp import ClientResponse
from aiohttp.abc import AbstractResolver
from yarl import URL

from shared.adapters.http.dns_resolver import ThreadedResolver
from shared.adapters.http.public_session import ForbiddenAddress, PublicSession
from shared.domain.outbound_proxies import NO_PROXIES, OutboundProxies
from shared.domain.public_addresses import find_url_fault

TIMEOUT_SECONDS = 120.0
"""For a whole image, from the name look-up to the last byte."""
CHUNK_BYTES = 64 * 1024
REDIRECTS_MAX = 3
_THREADS = 8
_MESSAGE_LENGTH = 200


class DownloadFailed(Exception):
    """An image cannot be had from a link. The text says why, without the link."""


class ImageDownloader:
    """The HTTP client for images. Use it as an async context manager."""

    def __init__(
        self,
        *,
        allow_loopback: bool = False,
        proxies: OutboundProxies = NO_PROXIES,
        timeout_seconds: float = TIMEOUT_SECONDS,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._allow_loopback = allow_loopback
        self._resolver = resolver or ThreadedResolver(_THREADS)
        self._session = PublicSession(
            resolver=self._resolver,
            timeout_seconds=timeout_seconds,
            allow_loopback=allow_loopback,
            proxies=proxies,
            # The bytes are stored as they come.
            headers={"Accept": "image/*", "Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> ImageDownloader:
        await self._session.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.__aexit__(exc_type, exc, traceback)
        await self._resolver.close()

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Request an image, and yield its bytes in chunks. Both raise `DownloadFailed`."""
        async with self.open_sized(url) as (chunks, _):
            yield chunks

    @asynccontextmanager
    async def open_sized(self, url: str) -> AsyncIterator[tuple[AsyncIterator[bytes], int | None]]:
        """Request an image like `open`, and yield its chunks and the length that was announced."""
        response = await self._get(url)
        try:
            yield _read_chunks(response), response.content_length
        finally:
            # Closed and not released: the rest of an image that is not wanted is not read.
            response.close()

    async def _get(self, url: str) -> ClientResponse:
        """Request the URL, and follow a few redirects, each of which is checked like the URL."""
        for _ in range(REDIRECTS_MAX + 1):
            fault = find_url_fault(url, allow_loopback=self._allow_loopback)
            if fault is not None:
                raise DownloadFailed(f"the link {fault}")
            # The URL is sent as it was given: a signature must not be encoded again.
            target = URL(url, encoded=url.isascii()).with_fragment(None)
            with _translated():
                response = await self._session.request("GET", target)
            if response.status == 200:
                return response
            location = response.headers.get("Location")
            response.close()
            if response.status not in {301, 302, 303, 307, 308} or location is None:
                raise DownloadFailed(f"the link answered HTTP {response.status}")
            url = urljoin(url, location)
        raise DownloadFailed(f"the link was redirected more than {REDIRECTS_MAX} times")


async def _read_chunks(response: ClientResponse) -> AsyncIterator[bytes]:
    chunks = response.content.iter_chunked(CHUNK_BYTES)
    while True:
        with _translated():
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield chunk


class _translated:  # noqa: N801 - reads like a function, and is cheaper than a generator per chunk
    """Raises errors of the network as `DownloadFailed`."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, TimeoutError):
            raise DownloadFailed("the link did not answer in time") from exc
        if isinstance(exc, aiohttp.ClientError | OSError | ValueError):
            raise DownloadFailed(_describe_error(exc)) from exc


def _describe_error(error: BaseException) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ForbiddenAddress):
        return f"the host of the link {cause}"
    text = str(cause) or type(cause).__name__
    return f"the link does not answer: {text}"[:_MESSAGE_LENGTH]


def is_loopback_url(url: str) -> bool:
    """Return whether the host of a URL is this machine, as that of the simulator is."""
    return (
        find_url_fault(url, allow_loopback=True) is None
        and find_url_fault(url, allow_loopback=False) is not None
    )
