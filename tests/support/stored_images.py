"""Rows of copies of images, as workers leave them."""

from __future__ import annotations

from producer import Job
from tests.integration.database.database_setup import DatabaseSetup

URL = "https://darkroom.example/v1/jobs/x/images/1"


async def add_stored_image(
    setup: DatabaseSetup, job: Job, *, position: int = 1, days_old: float = 1, size: int = 1
) -> str:
    """Add the row of a copy that was stored so long ago, and return its key."""
    key = f"2026/{job.id}/{position}.png"
    await setup.sql(
        "INSERT INTO job_images (job_id, position, attempt, provider_task_id, kie_url, state, url,"
        "                        key, content_type, bytes, width, height, sha256, stored_at)"
        " VALUES ($1, $2, 1, 'task-1', 'https://kie.example/1.png', 'stored', $3, $4, 'image/png',"
        "         $5, 3, 2, 'ab', now() - make_interval(secs => $6))",
        job.id,
        position,
        URL,
        key,
        size,
        days_old * 86_400,
    )
    return key
