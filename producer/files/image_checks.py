"""Requests the start of each image of a request, so that a dead link is refused before its job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from producer.files.checked_image import FILE_BYTES_MAX
from producer.orders.argument_types import REQUEST_ADVICE, require_type
from producer.orders.order import Order
from shared.adapters.http.image_download import DownloadFailed, ImageDownloader
from shared.adapters.postgres.database import Database
from shared.catalog import ImageRequest
from shared.catalog.request_images import images_of
from shared.domain.image_bytes import ImageReader, NotAnImage
from shared.domain.outbound_proxies import NO_PROXIES, OutboundProxies
from shared.errors import Fault, InvalidRequest

CHECK_SECONDS = 10.0
"""For one image, with its redirects."""
START_BYTES_MAX = 1024 * 1024
"""The most that is read of an image. Its dimensions are within the first bytes as a rule."""
_CHECKS_AT_ONCE = 32


class ImageChecks:
    """Checks the images of requests. Close it when it is not used any more."""

    def __init__(
        self,
        database: Database,
        proxies: OutboundProxies = NO_PROXIES,
        *,
        downloader: ImageDownloader | None = None,
    ) -> None:
        self._database = database
        self._downloader = downloader or ImageDownloader(
            timeout_seconds=CHECK_SECONDS, proxies=proxies
        )
        self._resources = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._is_open = False
        self._slots = asyncio.Semaphore(_CHECKS_AT_ONCE)

    async def close(self) -> None:
        """Close the connections."""
        await self._resources.aclose()

    async def check(self, request: ImageRequest, account_id: str) -> None:
        """See `Producer.check_images`."""
        require_type("request", request, ImageRequest, REQUEST_ADVICE)
        await self._check(
            [(account_id, *one) for one in images_of(request.model_dump(mode="json")).items()]
        )

    async def check_orders(self, orders: Sequence[Order]) -> None:
        """Check the images of several orders like `check`, each URL once.

        The fields of the faults of several begin with `jobs.<index>.`.
        """
        prefixes = [""] if len(orders) == 1 else [f"jobs.{index}." for index in range(len(orders))]
        await self._check(
            [
                (order.account_id, f"{prefix}{field}", url)
                for prefix, order in zip(prefixes, orders, strict=True)
                for field, url in images_of(order.request.model_dump(mode="json")).items()
            ]
        )

    async def _check(self, images: Sequence[tuple[str, str, str]]) -> None:
        """Check images, each with the account that names it, its field and its URL."""
        if not images:
            return
        await self._open()
        urls_of: dict[str, set[str]] = {}
        for account_id, _, url in images:
            urls_of.setdefault(account_id, set()).add(url)
        sentences: dict[tuple[str, str], str | None] = {}
        for account_id, urls in urls_of.items():
            known = await self._known_files(account_id, sorted(urls))
            for url, is_expired in known.items():
                sentences[account_id, url] = _EXPIRED if is_expired else None
        unknown = sorted({url for owner, _, url in images if (owner, url) not in sentences})
        found = dict(
            zip(unknown, await asyncio.gather(*map(self._check_url, unknown)), strict=True)
        )
        faults = [
            Fault(field, sentence)
            for account_id, field, url in images
            if (sentence := sentences.get((account_id, url), found.get(url))) is not None
        ]
        if faults:
            raise InvalidRequest(faults)

    async def _open(self) -> None:
        async with self._opening:
            if not self._is_open:
                await self._resources.enter_async_context(self._downloader)
                self._is_open = True

    async def _known_files(self, account_id: str, urls: list[str]) -> dict[str, bool]:
        """Return which URLs are uploaded files of the account, and whether Kie has deleted them."""
        rows = await self._database.fetch("files_by_url", account_id, urls)
        return {
            url: row["is_expired"]
            for row in rows
            for url in (row["url"], *row["former_urls"])
            if url in urls
        }

    async def _check_url(self, url: str) -> str | None:
        """Return what is wrong with the image at the URL, or None."""
        try:
            async with self._slots, asyncio.timeout(CHECK_SECONDS):
                return await self._read_start(url)
        except DownloadFailed as error:
            return f"cannot be fetched: {error}"
        except TimeoutError:
            return f"cannot be fetched: the link did not answer within {CHECK_SECONDS:g} s"

    async def _read_start(self, url: str) -> str | None:
        reader = ImageReader()
        async with self._downloader.open_sized(url) as (chunks, length):
            if length is not None and length > FILE_BYTES_MAX:
                return f"is larger than {FILE_BYTES_MAX // 2**20} MiB"
            try:
                async for chunk in chunks:
                    reader.feed(chunk)
                    if reader.head is not None:
                        return None
                    if reader.length > START_BYTES_MAX:
                        return "has no dimensions within its first MiB"
                reader.finish()
            except NotAnImage as error:
                return str(error)
        return None


_EXPIRED = "is an uploaded file that Kie has deleted: upload it again"
