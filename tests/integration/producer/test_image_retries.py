"""Failed copies are tried again when a person asks for it, and no other image is touched."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from producer import JobNotFound, Producer
from producer.bulk.job_selection import JobSelection
from producer.jobs.job_filter import JobFilter
from producer.results.image_retries import ImageRetries, RetriedImages
from shared.adapters.postgres.database import Database
from shared.domain.lifecycle import JobState
from shared.errors import DatabaseRefused
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.producer.client_setup import open_account
from tests.support.stored_images import add_failed_image, add_stored_image

NOBODY = UUID(int=9)


class Failing:
    """Jobs whose copies have failed."""

    def __init__(self, setup: DatabaseSetup) -> None:
        self.setup = setup
        self.retries = ImageRetries(setup.database)

    async def job_with(self, *states: str, days_old: float = 2, **options: Any) -> UUID:
        """Return a job with images in these states."""
        job = await self.setup.job_in(JobState.SUCCEEDED, **options)
        for position, state in enumerate(states, 1):
            if state == "stored":
                await add_stored_image(self.setup, job, position=position)
                continue
            await add_failed_image(
                self.setup, job, position=position, state=state, days_old=days_old
            )
        return job.id

    async def due(self) -> list[tuple[UUID, int]]:
        """Return the images that are tried now, and for a day."""
        rows = await self.setup.sql(
            "SELECT job_id, position FROM job_images WHERE state = 'waiting'"
            " AND next_try_at <= now() AND retry_until > now() + interval '23 h'"
            " ORDER BY job_id, position"
        )
        return [(UUID(int=row["job_id"].int), row["position"]) for row in rows]


@pytest.fixture
async def failing(producer: Producer, database: Database) -> Failing:
    await open_account(producer)
    return Failing(DatabaseSetup(database))


async def test_failed_copies_of_a_job_are_due_again_with_who_asked(failing: Failing) -> None:
    job_id = await failing.job_with("failed", "waiting", "stored")
    other = await failing.job_with("failed")
    retried = await failing.retries.retry(JobSelection(ids=[job_id]), actor="maria")
    assert retried == RetriedImages(images=2, jobs=1, expired=0)
    assert await failing.due() == [(job_id, 1), (job_id, 2)]
    (entry,) = await failing.setup.billing.audit(act="images_retried")
    assert (entry["actor"], UUID(str(entry["job_id"]))) == ("maria", job_id)
    assert entry["after"] == {"images": 2, "jobs": 1}
    rows = await failing.setup.sql("SELECT state FROM job_images WHERE job_id = $1", other)
    assert [row["state"] for row in rows] == ["failed"]
    assert await failing.setup.broken_invariants() == {}


async def test_a_filter_chooses_the_jobs(failing: Failing) -> None:
    ours = await failing.job_with("failed", metadata={"order": "7"})
    await failing.job_with("failed", metadata={"order": "8"})
    where = JobFilter.from_texts({"state": "succeeded", "metadata": "order=7"})
    retried = await failing.retries.retry(JobSelection(where=where))
    assert (retried.images, await failing.due()) == (1, [(ours, 1)])
    (entry,) = await failing.setup.billing.audit(act="images_retried")
    assert entry["after"]["where"]["state"] == ["succeeded"]
    assert entry["job_id"] is None


async def test_all_means_every_job_in_batches_and_each_image_once(failing: Failing) -> None:
    jobs = [await failing.job_with("failed", "failed", "waiting") for _ in range(2)]
    retries = ImageRetries(failing.setup.database, batch_images=2)
    assert await retries.retry_all() == RetriedImages(images=6, jobs=2, expired=0)
    assert len(await failing.due()) == 6
    entries = await failing.setup.billing.audit(act="images_retried")
    assert [entry["after"]["images"] for entry in entries] == [2, 2, 2]
    await failing.setup.sql("UPDATE job_images SET next_try_at = now() + interval '1 h'")
    again = await failing.retries.retry(JobSelection(ids=jobs[:1]))
    assert again.images == 3, "a repeated call does it again"


async def test_what_is_not_failed_or_gone_at_kie_is_left(failing: Failing) -> None:
    await failing.job_with("stored")
    gone = await failing.job_with("failed", "waiting", days_old=15)
    fresh = await failing.job_with("waiting")
    await failing.setup.sql("UPDATE job_images SET last_error = NULL WHERE job_id = $1", fresh)
    before = await failing.setup.snapshot()
    assert await failing.retries.retry_all() == RetriedImages(images=0, jobs=0, expired=2)
    assert await failing.retries.retry(JobSelection(ids=[gone])) == RetriedImages(0, 0, 2)
    assert await failing.setup.snapshot() == before


async def test_an_id_of_no_job_is_refused_and_nothing_is_done(failing: Failing) -> None:
    job_id = await failing.job_with("failed")
    with pytest.raises(JobNotFound, match=str(NOBODY)):
        await failing.retries.retry(JobSelection(ids=[job_id, NOBODY]))
    assert await failing.due() == []


async def test_a_filter_with_an_unknown_key_is_refused_by_the_database(failing: Failing) -> None:
    await failing.job_with("failed")
    with pytest.raises(DatabaseRefused, match="acount is no filter of jobs"):
        await failing.setup.database.fetch(
            "retry_images", None, '{"acount": "acme"}', datetime.now(UTC), 10, None
        )
    assert await failing.due() == []
