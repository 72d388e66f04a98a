"""Copies the images that wait for it, a few at a time, until the worker stops.

The rows of `job_images` are the queue. A worker takes rows for as long as a copy may take, so that
the images of a worker that dies are taken by another. The copies use no lane, no delivery and no
limit of Kie, and no other work waits for them. A copy that fails is tried again for a day. Nothing
is generated or charged by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from math import inf
from uuid import UUID

import asyncpg
import structlog

from shared.adapters.async_tasks import stop_if_cancelled, stop_tasks
from shared.adapters.http.image_download import DownloadFailed, ImageDownloader
from shared.adapters.monitoring.incident_log import POSTGRES, incidents
from shared.adapters.redis.change_messages import Change
from shared.adapters.results_store import ResultsStore
from shared.catalog import get_family
from shared.errors import DarkroomError, DependencyDown, ResultsStoreDown, RowBusy
from worker.dependencies import Dependencies
from worker.results.image_copy import CopiedImage, WaitingImage, copy_image

log = structlog.get_logger(__name__)

COPIES_AT_ONCE = 8
"""How many images a worker copies at once. Each holds up to 1 MiB, and a part of the store."""
IDLE_SECONDS = 10.0
"""How often the rows are read while no success of this worker asks for it."""
COPY_SECONDS = 150.0
"""How long one copy may take."""
LEASE_SECONDS = 180.0
RETRY_DELAYS_SECONDS = (2.0, 5.0, 15.0, 60.0, 120.0, 300.0, 300.0, 600.0, 1800.0, 3600.0)
"""The delay after each try. The last one repeats."""
STORE_DELAY_SECONDS_MAX = 60.0
"""The longest delay while the store refuses. One copy at a time asks it, however many wait."""
_JITTER = 0.2
_OVERDUE_AT_ONCE = 500
_OUTAGE_SECONDS = 5.0
_WRITE_TRIES = 5


class ImageCopies:
    """The copies of one worker. Any number of workers may copy."""

    def __init__(
        self,
        deps: Dependencies,
        store: ResultsStore,
        downloader: ImageDownloader,
        *,
        at_once: int = COPIES_AT_ONCE,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._deps = deps
        self._store = store
        self._downloader = downloader
        self._at_once = at_once
        self._idle_seconds = idle_seconds
        self._copies: set[asyncio.Task[None]] = set()
        self._store_is_down = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ImageCopies]:
        """Copy while the block runs."""
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            await stop_tasks([task, *self._copies])

    async def copy_due(self) -> int:
        """Copy the images that are due, a few at most. Returns how many. Raises `PostgresDown`."""
        images = await self._claim(self._at_once)
        await asyncio.gather(*map(self._copy_safely, images))
        return len(images)

    async def announce_overdue(self) -> int:
        """Announce the ends that have waited too long for their images. Returns how many.

        Raises `PostgresDown`.
        """
        rows = await self._deps.queries.fetch("announce_overdue_images", _OVERDUE_AT_ONCE)
        for row in rows:
            self._deps.publish_change(Change(row["job_id"], has_ended=True))
        if rows:
            log.warning(
                "images_overdue",
                jobs=len(rows),
                meaning="the ends of these jobs were announced with links of Kie, which expire",
            )
        return len(rows)

    async def _run(self) -> None:
        while True:
            pause_seconds = self._idle_seconds
            try:
                await self.announce_overdue()
                await self._start_copies()
            except DependencyDown as down:
                incidents.record_outage(down, doing="copy_images")
                pause_seconds = _OUTAGE_SECONDS
            except DarkroomError as error:
                incidents.record_failure("images_not_claimed", "", error)
            else:
                incidents.record_recovery(POSTGRES)
                incidents.record_success("images_not_claimed", "")
            stop_if_cancelled()
            await self._wait(pause_seconds)

    async def _start_copies(self) -> None:
        # While the store refuses, one copy at a time finds out when it does not any more.
        free = (1 if self._store_is_down else self._at_once) - len(self._copies)
        if free <= 0:
            return
        self._deps.images_to_copy.clear()
        images = await self._claim(free)
        for image in images:
            task = asyncio.create_task(self._copy_safely(image))
            self._copies.add(task)
            task.add_done_callback(self._end_copy)
        if len(images) == free:
            # More may be due. They are claimed when a copy ends.
            self._deps.images_to_copy.set()

    def _end_copy(self, task: asyncio.Task[None]) -> None:
        self._copies.discard(task)

    async def _wait(self, pause_seconds: float) -> None:
        """Wait until there may be something to copy and a copy is free, or for that long."""
        if len(self._copies) >= (1 if self._store_is_down else self._at_once):
            await asyncio.wait(self._copies, timeout=pause_seconds, return_when="FIRST_COMPLETED")
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_seconds):
                await self._deps.images_to_copy.wait()

    async def _claim(self, most: int) -> list[WaitingImage]:
        rows = await self._deps.queries.fetch("claim_images", LEASE_SECONDS, most)
        return [_image_from_row(row) for row in rows]

    async def _copy_safely(self, image: WaitingImage) -> None:
        """Copy an image, and record what became of it. An outage leaves it to its next try."""
        try:
            async with asyncio.timeout(COPY_SECONDS):
                copied = await self._copy(image)
        except ResultsStoreDown as down:
            self._store_is_down = True
            self._deps.metrics.image_copies.count_failure("store")
            incidents.record_failure(
                "images_not_stored",
                self._store.name,
                down,
                level="error",
                calm_seconds=120.0,
                meaning="images are kept at Kie and copied later; nothing is charged again",
            )
            await self._record_failed(image, str(down), longest_seconds=STORE_DELAY_SECONDS_MAX)
        except (DownloadFailed, TimeoutError) as failed:
            self._deps.metrics.image_copies.count_failure("download")
            why = str(failed) or f"not copied within {COPY_SECONDS:g} s"
            log.warning(
                "image_not_copied",
                job_id=str(image.job_id),
                image=image.position,
                tries=image.tries,
                error=why,
            )
            await self._record_failed(image, why)
        except Exception as error:
            # A bug in one copy must not prevent the others.
            incidents.record_failure(
                "image_copy_failed", "", repr(error), level="error", exc_info=True
            )
            await self._record_failed(image, repr(error)[:300])
        else:
            self._store_is_down = False
            incidents.record_success("images_not_stored", self._store.name)
            await self._record_until_stored(image, copied)

    async def _copy(self, image: WaitingImage) -> CopiedImage:
        try:
            return await copy_image(self._downloader, self._store, image, image.kie_url)
        except DownloadFailed as plain:
            link = await self._request_link(image)
            if link is None:
                raise DownloadFailed(f"{plain}, and Kie gave no other link") from plain
            try:
                return await copy_image(self._downloader, self._store, image, link)
            except DownloadFailed as fresh:
                raise DownloadFailed(f"{plain}, and of another link of Kie: {fresh}") from fresh

    async def _request_link(self, image: WaitingImage) -> str | None:
        kie = self._deps.accounts.client_of(image.provider_account)
        return await kie.download_link(
            get_family(image.family), image.provider_task_id, image.kie_url
        )

    async def _record_until_stored(self, image: WaitingImage, copied: CopiedImage) -> None:
        """Record the copy. Where that is not possible, the lease ends and it is copied again."""
        for tries in range(1, _WRITE_TRIES + 1):
            try:
                row = await self._deps.queries.fetch_row(
                    "record_image_stored",
                    image.job_id,
                    image.position,
                    image.tries,
                    image_url(self._deps.settings.public_url, image),
                    copied.key,
                    copied.head.type.value,
                    copied.bytes,
                    copied.head.width,
                    copied.head.height,
                    copied.sha256,
                )
                break
            except RowBusy:
                await self._deps.sleep(0.5 * tries)
            except DarkroomError as error:
                incidents.record_outage(error, doing="record_image")
                return
        else:
            return
        if row is None:
            return
        self._deps.metrics.image_copies.count_stored(copied.bytes)
        self._deps.publish_change(Change(image.job_id, has_ended=row["is_announced"]))
        log.info(
            "image_stored",
            job_id=str(image.job_id),
            image=image.position,
            bytes=copied.bytes,
            content_type=copied.head.type.value,
            tries=image.tries,
        )

    async def _record_failed(
        self, image: WaitingImage, why: str, *, longest_seconds: float = inf
    ) -> None:
        delay_seconds = retry_delay_seconds(image.tries, self._deps.random.random())
        delay_seconds = min(delay_seconds, longest_seconds)
        try:
            row = await self._deps.queries.fetch_row(
                "record_image_failed", image.job_id, image.position, image.tries, why, delay_seconds
            )
        except DarkroomError as error:
            incidents.record_outage(error, doing="record_image")
            return
        if row is not None and row["state"] == "failed":
            log.error(
                "image_given_up",
                job_id=str(image.job_id),
                image=image.position,
                error=why,
                meaning="a day of tries has not copied it; Kie's own link is all there is",
            )


def image_url(public_url: str, image: WaitingImage) -> str:
    """Return where callers get the copy."""
    return f"{public_url}/v1/jobs/{image.job_id}/images/{image.position}"


def retry_delay_seconds(tries: int, jitter: float) -> float:
    """Return the delay after a try that failed. `jitter` is 0 to 1 and adds up to a fifth."""
    delay_seconds = RETRY_DELAYS_SECONDS[min(max(tries, 1), len(RETRY_DELAYS_SECONDS)) - 1]
    return delay_seconds * (1 + _JITTER * jitter)


def _image_from_row(row: asyncpg.Record) -> WaitingImage:
    return WaitingImage(
        job_id=UUID(int=row["job_id"].int),
        position=row["position"],
        tries=row["tries"],
        kie_url=row["kie_url"],
        provider_task_id=row["provider_task_id"],
        retry_until=row["retry_until"],
        created_at=row["created_at"],
        family=row["family"],
        provider_account=row["provider_account"],
    )
