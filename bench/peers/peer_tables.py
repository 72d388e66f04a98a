"""The SQL of a peer's pipeline. Runs in each peer's environment.

Written carefully on purpose: a job with a task is not submitted again, the settlement is one
guarded statement, and each statement is one round trip.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from bench.peers.peer_settings import ACCOUNT, PeerSettings

PLACE = """
INSERT INTO peers.jobs (id, account_id, prompt, quantity)
SELECT number, $2, prompt, quantity
  FROM unnest($1::integer[], $3::text[], $4::integer[]) AS given (number, prompt, quantity)
"""
LOAD = "SELECT prompt, quantity, task_id FROM peers.jobs WHERE id = $1"
STORE_TASK = "UPDATE peers.jobs SET task_id = $2, state = 'generating' WHERE id = $1"
SETTLE = """
WITH settled AS (
    UPDATE peers.jobs AS job
       SET state = 'succeeded', result_urls = $2, credits = price.credits,
           finished_at = clock_timestamp()
      FROM peers.prices AS price
     WHERE job.id = $1 AND job.state = 'generating' AND price.quantity = job.quantity
    RETURNING job.id, job.account_id, job.credits
), account AS (
    UPDATE peers.accounts SET balance = balance - settled.credits
      FROM settled WHERE accounts.id = settled.account_id
    RETURNING accounts.balance
)
INSERT INTO peers.ledger_entries (account_id, job_id, credits, balance_after)
SELECT settled.account_id, settled.id, settled.credits, account.balance FROM settled, account
"""
QUANTITIES = (1, 2, 4)


class JobTable:
    """The statements of the pipeline over one pool of connections."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def place(self, numbers: Sequence[int]) -> None:
        """Insert the jobs with these numbers."""
        prompts, quantities = zip(*(describe(number) for number in numbers), strict=True)
        await self._pool.execute(PLACE, list(numbers), ACCOUNT, prompts, quantities)

    async def load(self, number: int) -> tuple[str, int, str | None]:
        """Return prompt, quantity and task id of a job."""
        row = await self._pool.fetchrow(LOAD, number)
        return row["prompt"], row["quantity"], row["task_id"]

    async def store_task(self, number: int, task_id: str) -> None:
        """Store the paid task of the job."""
        await self._pool.execute(STORE_TASK, number, task_id)

    async def settle(self, number: int, urls: Sequence[str]) -> None:
        """Store the images and charge the account once, in one transaction."""
        await self._pool.execute(SETTLE, number, urls)


@asynccontextmanager
async def open_job_table(setting: PeerSettings, connections: int = 10) -> AsyncIterator[JobTable]:
    """Open a pool of ten connections, as Darkroom's worker has.

    A tuned pool does not reset connections after each statement, which halves the round trips.
    """
    tuned: dict[str, Any] = {"reset": skip_session_reset} if setting.is_tuned else {}
    async with asyncpg.create_pool(
        setting.database_url, min_size=1, max_size=connections, **tuned
    ) as pool:
        yield JobTable(pool)


async def skip_session_reset(_: Any) -> None:
    """Replace the pool's reset of a connection. Does nothing."""


def describe(number: int) -> tuple[str, int]:
    """Return prompt and quantity of the job with that number."""
    return f"order {number}", QUANTITIES[number % len(QUANTITIES)]
