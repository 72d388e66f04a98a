"""E5: how long ten jobs wait while another account has 10,000 jobs queued.

The limit is Kie's: 20 submits in 10 seconds. In both cases another account has just used it up. In
the first it has no other job, in the second it has 10,000.
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

LIMIT = 20
SMALL = Crowd("b", 10)
BATCH_JOBS = 10_000
_LONGEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ShareResult:
    """One run."""

    last_wait_seconds: float
    """From placing the ten jobs until Kie received the last of them."""
    submits: int
    """All submits until then, those of the other account too."""
    seconds: float
    worst_window: int
    """The most submits in any 10 seconds, as the simulated Kie counts."""


async def measure_share(others: int) -> ShareResult:
    """Let another account place so many jobs, then ten of `b`, and wait for the last of these."""
    async with open_fair_deployment() as (deployment, producer):
        for account in ("a", "b"):
            await producer.billing.create_account(account)
            await producer.billing.grant(account, Decimal(1_000_000), "for the measurement")
        async with running_worker(deployment, "worker", submits=LIMIT):
            started_epoch = time.time()
            for start in range(0, others, 1_000):
                await producer.enqueue_many(orders_of(Crowd("a", min(1_000, others - start))))
            # The ten come in both cases right after the limit was used up.
            so_far = len(await read_submits(deployment, started_epoch))
            used_up = LIMIT if others == LIMIT else (so_far // LIMIT + 1) * LIMIT
            while len(await read_submits(deployment, started_epoch)) < used_up:
                await asyncio.sleep(0.05)
            placed = time.time() - started_epoch
            await producer.enqueue_many(orders_of(SMALL))
            async with asyncio.timeout(_LONGEST_SECONDS):
                while True:
                    submits = await read_submits(deployment, started_epoch)
                    own = [one.at_seconds for one in submits if one.account == SMALL.name]
                    if len(own) == SMALL.jobs:
                        break
                    await asyncio.sleep(0.1)
            record = await deployment.record()
    return ShareResult(
        own[-1] - placed,
        len([one for one in submits if one.at_seconds <= own[-1]]),
        own[-1],
        record["creates"]["worst_window_10_seconds"],
    )
