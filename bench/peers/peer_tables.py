"""What a hand-made pipeline says to Postgres. Runs in every peer's environment.

Written with care on purpose: a job that already has a task is not paid again, the settlement is
one guarded statement and so one transaction, and a statement is never more than one round trip.
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
        """Store jobs of these numbers."""
        prompts, quantities = zip(*(describe(number) for number in numbers), strict=True)
        await self._pool.execute(PLACE, list(numbers), ACCOUNT, prompts, quantities)

    async def load(self, number: int) -> tuple[str, int, str | None]:
        """Return the prompt, the quantity and the task id of a job."""
        row = await self._pool.fetchrow(LOAD, number)
        return row["prompt"], row["quantity"], row["task_id"]

    async def store_task(self, number: int, task_id: str) -> None:
        """Store the task that was paid for the job."""
        await self._pool.execute(STORE_TASK, number, task_id)

    async def settle(self, number: int, urls: Sequence[str]) -> None:
        """Store the images and charge the account, once, in one transaction."""
        await self._pool.execute(SETTLE, number, urls)


@asynccontextmanager
async def open_job_table(setting: PeerSettings, connections: int = 10) -> AsyncIterator[JobTable]:
    """Open a pool; ten connections, as Darkroom's worker has.

    Tuned, its connections are not wiped between two statements, which halves the round trips.
    """
    tuned: dict[str, Any] = {"reset": skip_session_reset} if setting.is_tuned else {}
    async with asyncpg.create_pool(
        setting.database_url, min_size=1, max_size=connections, **tuned
    ) as pool:
        yield JobTable(pool)


async def skip_session_reset(_: Any) -> None:
    """Take the place of the pool's wiping of a connection."""


def describe(number: int) -> tuple[str, int]:
    """Return the prompt and the quantity of the job of that number."""
    return f"order {number}", QUANTITIES[number % len(QUANTITIES)]
