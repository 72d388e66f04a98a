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


async def add_failed_image(
    setup: DatabaseSetup, job: Job, *, position: int = 1, state: str = "failed", days_old: float = 2
) -> None:
    """Add the row of a copy that has failed: given up, or waiting for its next try."""
    await setup.sql(
        "INSERT INTO job_images (job_id, position, attempt, provider_task_id, kie_url, state,"
        "                        tries, last_error, created_at, next_try_at, retry_until,"
        "                        expires_at)"
        " SELECT $1, $2, 1, 'task-1', 'https://kie.example/1.png', $3, 9, 'HTTP 404', at,"
        "        now() + interval '1 h', at + interval '1 day', at + interval '14 days'"
        "   FROM (SELECT now() - make_interval(secs => $4) AS at) AS stored",
        job.id,
        position,
        state,
        days_old * 86_400,
    )


LET_PASS = """
    WITH images AS (
        UPDATE job_images
           SET created_at = created_at - make_interval(secs => $1),
               next_try_at = next_try_at - make_interval(secs => $1),
               announce_at = announce_at - make_interval(secs => $1),
               retry_until = retry_until - make_interval(secs => $1),
               expires_at = expires_at - make_interval(secs => $1)
    ), messages AS (
        UPDATE webhook_messages SET next_try_at = next_try_at - make_interval(secs => $1)
         WHERE state = 'pending'
    )
    UPDATE jobs SET images_due_at = images_due_at - make_interval(secs => $1)
     WHERE images_due_at IS NOT NULL
"""
"""Makes all that waits for images so many seconds older: Postgres's clock decides about it."""
