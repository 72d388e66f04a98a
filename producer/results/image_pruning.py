"""Deletes copies of images from the store of RESULTS_URL by age, for operators."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from producer.actor import Actor, actor_to_json
from producer.jobs.locked_rows import name_locked_row
from producer.results.stored_images import StoredImages
from producer.results.thumbnails import thumbnail_key
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.row_dicts import as_dicts
from shared.adapters.results_store import ResultsStore
from shared.errors import ConfigurationError, Fault, InvalidRequest
from shared.job_json import timestamp_to_json

BATCH_IMAGES = 500
"""A statement marks the old images of the jobs of so many images, and locks these jobs."""
MAX_AGE_SECONDS = 36_500 * 86_400.0
_CONCURRENT_DELETES = 16
_CHECKED_IMAGES = 3


@dataclass(frozen=True, slots=True)
class OldImages:
    """Copies of images that were stored before a time."""

    stored_before: datetime
    images: int
    jobs: int
    bytes: int
    """Of the images, without their thumbnails."""
    left_over: int = 0
    """Images that an earlier run has marked as deleted and that may still be in the store."""


class ImagePruning:
    """Deletes copies of images by age. Every method may raise `PostgresDown`.

    An image is first marked as pruned, in batches, and then deleted. So readers are told that it
    was deleted before it is gone, and what an interrupted run has left is deleted by the next.
    """

    def __init__(self, database: Database, images: StoredImages) -> None:
        self._database = database
        self._images = images

    async def preview(self, older_than_seconds: float) -> OldImages:
        """Return what a prune would delete: copies stored longer ago than this. Changes nothing.

        Raises `InvalidRequest` for an age that is negative or more than 36,500 days.
        """
        if not 0 <= older_than_seconds <= MAX_AGE_SECONDS:
            raise InvalidRequest([Fault("older_than", "must be from 0 to 36500 days")])
        row = await self._database.fetch_row("old_images", older_than_seconds)
        assert row is not None  # noqa: S101 - one row for each statement
        return OldImages(**dict(row))

    async def prune(
        self,
        stored_before: datetime,
        *,
        actor: Actor | str | None = None,
        accept_missing: bool = False,
        batch_images: int = BATCH_IMAGES,
    ) -> OldImages:
        """Delete the copies that were stored before this time, and their thumbnails, for good.

        Also deletes what earlier runs have left, and returns what was deleted: `left_over` counts
        that of earlier runs. A copy that the store lacks counts as deleted. So a store that has
        none of the newest copies is refused, as it is another one, unless `accept_missing` says
        that they are lost. Raises `ConfigurationError` for such a store and if RESULTS_URL is not
        set, `RowBusy` if a job stays locked, and `ResultsStoreDown`. What was marked by then is
        deleted by the next run.
        """
        store = self._images.store
        if not accept_missing:
            await self._require_the_newest_copies(store)
        left_over = await self._delete_marked()
        images = jobs = size = 0
        while True:
            with name_locked_row("one of the jobs whose images are deleted"):
                marked = await self._database.fetch_row(
                    "prune_images", stored_before, batch_images, actor_to_json(actor)
                )
            if marked is None or not marked["images"]:
                return OldImages(stored_before, images, jobs, size, left_over)
            await self._delete_marked()
            images += marked["images"]
            jobs += marked["jobs"]
            size += marked["bytes"]

    async def _require_the_newest_copies(self, store: ResultsStore) -> None:
        """Raise `ConfigurationError` if the store has none of the newest copies.

        A missing object counts as deleted. In another store, all would count as deleted.
        """
        rows = await self._database.fetch("newest_stored_images", _CHECKED_IMAGES)
        for row in rows:
            if await store.contains(row["key"]):
                return
        if rows:
            raise ConfigurationError(
                f"the store {store.name} has none of the newest copies: set RESULTS_URL as the"
                " workers have it, or accept that copies are missing. Nothing was deleted"
            )

    async def _delete_marked(self) -> int:
        """Delete the objects of all images that are marked, and return how many images."""
        deleted = 0
        while rows := as_dicts(await self._database.fetch("images_to_delete", BATCH_IMAGES)):
            for start in range(0, len(rows), _CONCURRENT_DELETES):
                await self._delete(rows[start : start + _CONCURRENT_DELETES])
            deleted += len(rows)
            await self._database.fetch(
                "record_images_deleted",
                [row["job_id"] for row in rows],
                [row["position"] for row in rows],
            )
        return deleted

    async def _delete(self, rows: Sequence[Mapping[str, Any]]) -> None:
        store = self._images.store
        keys = [row["key"] for row in rows]
        await asyncio.gather(*(store.delete([key, thumbnail_key(key)]) for key in keys))


def old_images_to_json(old: OldImages, *, is_dry_run: bool) -> dict[str, Any]:
    """Return what a prune deletes, or has deleted, as a JSON object."""
    return {
        "dry_run": is_dry_run,
        "stored_before": timestamp_to_json(old.stored_before),
        "images": old.images,
        "jobs": old.jobs,
        "bytes": old.bytes,
        "left_over": old.left_over,
    }
