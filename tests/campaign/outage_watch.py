"""Records outages of Valkey and Postgres, from the death or hang to the next answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import asyncpg
from redis.exceptions import RedisError

from tests.campaign.campaign_deployment import CampaignDeployment

_ASK_SECONDS = 1.0
_PAUSE_SECONDS = 0.05
_LONGEST_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class OutageInterval:
    """A time (epoch) in which a server did not answer."""

    server: str
    from_epoch: float
    to_epoch: float


class OutageWatch:
    """Records the outages that the fault injector causes."""

    def __init__(self, deployment: CampaignDeployment) -> None:
        self._house = deployment
        self.outages: list[OutageInterval] = []

    async def until_it_answers(self, server: str, from_epoch: float) -> None:
        """Record an outage of `valkey` or `postgres` that began at this time, when it is over."""
        ask = {"valkey": self._ask_valkey, "postgres": self._ask_postgres}[server]
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_SECONDS):
                while not await _answers(ask):
                    await asyncio.sleep(_PAUSE_SECONDS)
        self.outages.append(OutageInterval(server, from_epoch, time.time()))

    async def _ask_valkey(self) -> None:
        await self._house.redis.ping()

    async def _ask_postgres(self) -> None:
        connection = await asyncpg.connect(self._house.servers.database_url)
        try:
            await connection.fetchval("SELECT 1")
        finally:
            connection.terminate()


async def _answers(ask: Callable[[], Awaitable[None]]) -> bool:
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            await ask()
    except (RedisError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        return False
    return True


def overlap_seconds(from_epoch: float, to_epoch: float, outages: Sequence[OutageInterval]) -> float:
    """Return for how many seconds of that time at least one server was down."""
    away, reached = 0.0, from_epoch
    for outage in sorted(outages, key=lambda one: one.from_epoch):
        start = max(reached, outage.from_epoch)
        end = min(to_epoch, outage.to_epoch)
        if end > start:
            away += end - start
            reached = end
    return away
