"""How long a job waits that meets an idle queue, and one that meets a paused account's jobs.

The second is not chosen by the statement that stores it, but by a worker that is woken.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from decimal import Decimal

from bench.fairness.scenario_run import (
    open_fair_deployment,
    orders_of,
    read_submits,
    running_worker,
)
from bench.fairness.scenarios import Crowd

JOBS = 40
_GAP_SECONDS = 0.37
_LATEST_SECONDS = 2.0
_NO_LIMIT_REACHED = 1_000


@dataclass(frozen=True, slots=True)
class LoneWaits:
    """Seconds from placing each job until Kie received it."""

    idle: list[float]
    beside_paused: list[float]


async def measure_lone_jobs() -> LoneWaits:
    """Place single jobs, first with an empty queue, then while another account is paused."""
    async with open_fair_deployment() as (deployment, producer):
        for account in ("paused", *(f"lone-{number}" for number in range(2 * JOBS))):
            await producer.billing.create_account(account)
            await producer.billing.grant(account, Decimal(1_000), "for the measurement")
        async with running_worker(deployment, "worker", submits=_NO_LIMIT_REACHED):
            started_epoch = time.time()
            placed: dict[str, float] = {}
            for number in range(2 * JOBS):
                if number == JOBS:
                    await producer.pauses.pause("account", "paused", reason="for the measurement")
                    await producer.enqueue_many(orders_of(Crowd("paused", 20)))
                account = f"lone-{number}"
                (order,) = orders_of(Crowd(account, 1))
                placed[account] = time.time() - started_epoch
                await producer.enqueue_many([order])
                await asyncio.sleep(_GAP_SECONDS)
            await asyncio.sleep(_LATEST_SECONDS)
            submits = await read_submits(deployment, started_epoch)
    waits = {one.account: one.at_seconds - placed[one.account] for one in submits}
    ordered = [waits[f"lone-{number}"] for number in range(2 * JOBS)]
    return LoneWaits(ordered[:JOBS], ordered[JOBS:])
