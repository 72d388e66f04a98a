"""Takes chosen jobs back that are paused. They wait again, and are chosen in turn afterwards."""

from __future__ import annotations

from uuid import UUID

from shared.adapters.redis.deliveries import Lane
from worker.dependencies import Dependencies
from worker.queue.leased_worker import withdraw_deliveries


async def take_back_jobs(deps: Dependencies) -> int:
    """Take back the chosen jobs to which a pause applies. Returns how many deliveries were removed.

    A delivery that runs meanwhile is refused by its claim. Raises `PostgresDown` and `RedisDown`.
    """
    rows = await deps.queries.fetch("take_back_jobs")
    if not rows:
        return 0
    return await withdraw_deliveries(
        deps.scripts, Lane.SUBMIT, [UUID(int=row["id"].int) for row in rows]
    )
