"""Makes failed copies of images due again, for operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from producer.actor import Actor, actor_to_json
from producer.bulk.job_selection import JobSelection
from producer.jobs.job_repository import JobRepository
from shared.adapters.postgres.database import Database
from shared.errors import JobNotFound

BATCH_IMAGES = 500
"""A statement locks the rows of so many images at most."""


@dataclass(frozen=True, slots=True)
class RetriedImages:
    """Failed copies that are tried again."""

    images: int
    jobs: int
    expired: int
    """Images of the selection that were never copied and that Kie has deleted. They stay so."""


class ImageRetries:
    """Makes failed copies of images due again. Every method may raise `PostgresDown`.

    These are copies that were given up after a day, and those that wait for their next try. Workers
    take them within ten seconds, and try them for another day. Nothing is generated or charged.
    """

    def __init__(self, database: Database, *, batch_images: int = BATCH_IMAGES) -> None:
        self._database = database
        self._batch_images = batch_images

    async def retry(
        self, selection: JobSelection, *, actor: Actor | str | None = None
    ) -> RetriedImages:
        """Have the failed copies of these jobs tried again. Its `limit` and `below` do not count.

        A repeated call does it again. Raises `JobNotFound` for an id, and nothing is done then.
        """
        if selection.where is not None:
            return await self._retry(None, selection.where.to_json(), actor)
        ids = list(selection.ids)
        known = await JobRepository(self._database).states(ids)
        for job_id in ids:
            if job_id not in known:
                raise JobNotFound(str(job_id))
        return await self._retry(ids, None, actor)

    async def retry_all(self, *, actor: Actor | str | None = None) -> RetriedImages:
        """Have the failed copies of every job tried again."""
        return await self._retry(None, None, actor)

    async def _retry(
        self, ids: list[UUID] | None, where: str | None, actor: Actor | str | None
    ) -> RetriedImages:
        expired = await self._database.fetch_row("expired_images", ids, where)
        assert expired is not None  # noqa: S101 - a count is one row
        by_job: dict[UUID, int] = {}
        while rows := await self._database.fetch(
            "retry_images", ids, where, expired["since"], self._batch_images, actor_to_json(actor)
        ):
            for row in rows:
                by_job[row["job_id"]] = by_job.get(row["job_id"], 0) + row["images"]
        return RetriedImages(sum(by_job.values()), len(by_job), expired["images"])


def retried_images_to_json(retried: RetriedImages) -> dict[str, Any]:
    """Return what was made due again as a JSON object."""
    return {"images": retried.images, "jobs": retried.jobs, "expired": retried.expired}
