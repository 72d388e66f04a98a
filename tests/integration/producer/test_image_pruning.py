"""Copies of images are deleted by age, and what an interrupted run has left by the next."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest
from obstore.store import LocalStore

from producer import ConfigurationError, InvalidRequest, JobState, NotFound, Producer
from producer.results.image_pruning import ImagePruning
from producer.results.stored_images import CopyOptions, StoredImages
from producer.results.thumbnails import thumbnail_key
from shared.adapters.postgres.database import Database, connect_database
from shared.adapters.results_store import ResultsStore
from shared.errors import DatabaseRefused, ResultsStoreDown, RowBusy
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.producer.client_setup import open_account
from tests.support.stored_images import URL, add_stored_image

DAY = 86_400


class StoreThatStops(ResultsStore):
    """A folder that deletes so many images, and then answers no more."""

    def __init__(self, folder: Path, deletes: int, error: BaseException) -> None:
        super().__init__(LocalStore(folder), folder=folder)
        self._deletes = deletes
        self._error = error

    async def delete(self, keys: Sequence[str]) -> None:
        if self._deletes == 0:
            raise self._error
        self._deletes -= 1
        await super().delete(keys)


class ImagesIn(StoredImages):
    """The images of a store that a test has made."""

    def __init__(self, database: Database, store: ResultsStore) -> None:
        super().__init__(database)
        self._store = store


class Pruning:
    """Jobs with copies in a folder."""

    def __init__(self, setup: DatabaseSetup, folder: Path) -> None:
        self.setup = setup
        self.folder = folder
        self.images = StoredImages(setup.database, CopyOptions(folder.as_uri(), 60.0))
        self.pruning = ImagePruning(setup.database, self.images)

    async def job_with(self, *ages: float, size: int = 10) -> UUID:
        """Return a job with an image of each age in days, all with thumbnails."""
        job = await self.setup.job_in(JobState.SUCCEEDED)
        for position, days in enumerate(ages, 1):
            key = await add_stored_image(
                self.setup, job, position=position, days_old=days, size=size
            )
            for one in (key, thumbnail_key(key)):
                path = self.folder / one
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x" * size)
        return job.id

    def stopping(self, deletes: int, error: BaseException) -> ImagePruning:
        store = StoreThatStops(self.folder, deletes, error)
        return ImagePruning(self.setup.database, ImagesIn(self.setup.database, store))

    async def prune(
        self, pruning: ImagePruning | None = None, *, days: float = 90, batch_images: int = 500
    ) -> tuple[int, int, int, int]:
        """Delete what is older, and return images, jobs, bytes and what earlier runs had left."""
        pruning = pruning or self.pruning
        old = await pruning.preview(days * DAY)
        done = await pruning.prune(old.stored_before, actor="maria", batch_images=batch_images)
        return done.images, done.jobs, done.bytes, done.left_over

    async def states(self) -> list[tuple[str, bool]]:
        rows = await self.setup.sql(
            "SELECT state, deleted_at IS NOT NULL FROM job_images ORDER BY stored_at"
        )
        return [(state, is_deleted) for state, is_deleted in rows]

    def files(self) -> int:
        return sum(path.is_file() for path in self.folder.rglob("*"))


@pytest.fixture
async def kept(producer: Producer, database: Database, tmp_path: Path) -> Pruning:
    await open_account(producer)
    return Pruning(DatabaseSetup(database), tmp_path / "images")


async def test_old_copies_are_deleted_with_their_thumbnails_and_readers_are_told(
    kept: Pruning,
) -> None:
    job_id = await kept.job_with(120, 30)
    await kept.job_with(91, 92, size=7)
    old = await kept.pruning.preview(90 * DAY)
    assert (old.images, old.jobs, old.bytes, old.left_over) == (3, 2, 24, 0)
    assert kept.files() == 8
    assert await kept.prune() == (3, 2, 24, 0)
    assert kept.files() == 2
    assert sorted(await kept.states()) == [("pruned", True)] * 3 + [("stored", False)]
    with pytest.raises(NotFound, match=r"image 1 of job .* was deleted on 20"):
        await kept.images.find(job_id, 1)
    stored = await kept.images.open(await kept.images.find(job_id, 2))
    assert stored.size == 10
    pruned, other = (await kept.setup.store.load(job_id)).images
    assert pruned.url == other.url == URL
    assert pruned.expires_at is not None
    assert other.expires_at is None
    (entry,) = await kept.setup.billing.audit(act="images_pruned")
    assert entry["actor"] == "maria"
    assert {name: entry["after"][name] for name in ("images", "jobs", "bytes")} == {
        "images": 3,
        "jobs": 2,
        "bytes": 24,
    }
    assert await kept.setup.broken_invariants() == {}
    assert await kept.prune() == (0, 0, 0, 0)
    assert len(await kept.setup.billing.audit(act="images_pruned")) == 1


async def test_images_are_marked_in_batches(kept: Pruning) -> None:
    for _ in range(3):
        await kept.job_with(100)
    assert await kept.prune(batch_images=1) == (3, 3, 30, 0)
    assert len(await kept.setup.billing.audit(act="images_pruned")) == 3
    assert kept.files() == 0


@pytest.mark.parametrize(
    ("deletes", "error"),
    [
        (0, ResultsStoreDown("cannot delete")),
        (1, ResultsStoreDown("cannot delete")),
        (1, asyncio.CancelledError()),
    ],
)
async def test_what_a_run_has_marked_and_not_deleted_is_deleted_by_the_next(
    kept: Pruning, deletes: int, error: BaseException
) -> None:
    job_id = await kept.job_with(100, 101, 5)
    with pytest.raises(type(error)):
        await kept.prune(kept.stopping(deletes, error))
    assert await kept.states() == [("pruned", False), ("pruned", False), ("stored", False)]
    with pytest.raises(NotFound, match="was deleted"):
        await kept.images.find(job_id, 1)
    assert (await kept.pruning.preview(90 * DAY)).left_over == 2
    assert await kept.prune() == (0, 0, 0, 2)
    assert kept.files() == 2
    assert await kept.states() == [("pruned", True), ("pruned", True), ("stored", False)]


async def test_objects_whose_deletion_is_not_noted_count_as_deleted_by_the_next_run(
    kept: Pruning,
) -> None:
    await kept.job_with(100)
    await kept.setup.sql("ALTER TABLE job_images ADD CONSTRAINT drill CHECK (deleted_at IS NULL)")
    with pytest.raises(DatabaseRefused):
        await kept.prune()
    assert (kept.files(), await kept.states()) == (0, [("pruned", False)])
    await kept.setup.sql("ALTER TABLE job_images DROP CONSTRAINT drill")
    assert await kept.prune() == (0, 0, 0, 1)
    assert await kept.states() == [("pruned", True)]


async def test_a_job_that_stays_locked_is_named_and_nothing_of_the_batch_is_marked(
    kept: Pruning, database_url: str
) -> None:
    job_id = await kept.job_with(100)
    async with (
        kept.setup.database.pool.acquire() as connection,
        connection.transaction(),
        connect_database(database_url, lock_timeout_seconds=0.1) as database,
    ):
        await connection.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", job_id)
        with pytest.raises(RowBusy, match="one of the jobs whose images are deleted"):
            await kept.prune(ImagePruning(database, kept.images))
    assert (kept.files(), await kept.states()) == (2, [("stored", False)])


@pytest.mark.parametrize("url", [None, "another"])
async def test_without_the_store_of_the_workers_nothing_is_deleted(
    kept: Pruning, tmp_path: Path, url: str | None
) -> None:
    await kept.job_with(100)
    before = await kept.setup.snapshot()
    options = CopyOptions(None if url is None else (tmp_path / url).as_uri(), 60.0)
    elsewhere = ImagePruning(kept.setup.database, StoredImages(kept.setup.database, options))
    with pytest.raises(ConfigurationError, match="RESULTS_URL"):
        await kept.prune(elsewhere)
    assert await kept.setup.snapshot() == before
    assert kept.files() == 2


async def test_a_store_that_has_lost_the_newest_copies_is_pruned_if_that_is_accepted(
    kept: Pruning,
) -> None:
    await kept.job_with(100, 95, 10)
    shutil.rmtree(kept.folder)
    with pytest.raises(ConfigurationError, match=r"there is no folder .*, or make the folder"):
        await kept.prune()
    assert not kept.folder.exists()
    kept.folder.mkdir()
    with pytest.raises(ConfigurationError, match="or accept that copies are missing"):
        await kept.prune()
    old = await kept.pruning.preview(90 * DAY)
    done = await kept.pruning.prune(old.stored_before, accept_missing=True)
    assert (done.images, done.jobs) == (2, 1)
    assert sorted(await kept.states()) == [("pruned", True)] * 2 + [("stored", False)]


async def test_without_a_store_nothing_is_marked_even_if_missing_copies_are_accepted(
    kept: Pruning,
) -> None:
    await kept.job_with(100)
    pruning = ImagePruning(kept.setup.database, StoredImages(kept.setup.database))
    old = await pruning.preview(90 * DAY)
    with pytest.raises(ConfigurationError, match="RESULTS_URL is not set here"):
        await pruning.prune(old.stored_before, accept_missing=True)
    assert await kept.states() == [("stored", False)]


@pytest.mark.parametrize("seconds", [-1.0, 1e12, float("inf"), float("nan")])
async def test_an_age_out_of_range_is_a_fault(kept: Pruning, seconds: float) -> None:
    with pytest.raises(InvalidRequest, match="36500 days"):
        await kept.pruning.preview(seconds)
