"""Who is put through the blows: Darkroom, and the hand-made pipelines at their defaults."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import asyncpg

from bench.measurement.bench_deployment import House
from bench.measurement.pipelines import Pace, Peer, free_port, log_folder, order_of
from bench.peers.job_placement import due
from bench.peers.peer_settings import READY
from producer import Producer
from tests.support.restarted_process import Keeper

KIES_ADVICE = Pace(first_seconds=2.5, gap_seconds=2.5)
"""How often Kie advises to poll in the first half minute."""
UNKNOWN_LIMIT_SECONDS = 60
_TICK_SECONDS = 0.05
_DARKROOM_ENDS = """
SELECT request->>'prompt' AS prompt, state, extract(epoch FROM created_at)::float8 AS placed,
       extract(epoch FROM finished_at)::float8 AS ended,
       (SELECT count(*) FROM ledger_entries WHERE job_id = jobs.id AND kind = 'capture') AS charges
  FROM jobs
"""
_PEER_ENDS = """
SELECT prompt, state, extract(epoch FROM created_at)::float8 AS placed,
       extract(epoch FROM finished_at)::float8 AS ended,
       (SELECT count(*) FROM peers.ledger_entries WHERE job_id = jobs.id) AS charges
  FROM peers.jobs
"""


@dataclass(frozen=True, slots=True)
class End:
    """How one job stands in Postgres; moments are seconds since 1970."""

    prompt: str
    state: str
    placed_epoch: float
    ended_epoch: float | None
    charges: int


class Fighter(Protocol):
    """Somebody who can be put through the blows."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def keeper(self, house: House, number: int) -> Keeper:
        """Return what keeps worker `number` (from 1) running."""

    async def place_over(self, house: House, jobs: int, seconds: float) -> None:
        """Place the jobs evenly over the seconds."""

    async def ends(self, connection: asyncpg.Connection) -> Sequence[End]:
        """Return how its jobs stand."""


class DarkroomFighter:
    """Ours, with callbacks on; the first worker receives them, on a port that stays the same."""

    name = "Darkroom"

    def __init__(self) -> None:
        self._port = free_port()

    def keeper(self, house: House, number: int) -> Keeper:
        """Return what keeps worker `number` (from 1) running."""
        environ = {
            **house.environ,
            "KIE_SUBMITS_PER_10_SECONDS": "0",
            "KIE_CALLBACK_URL": f"http://127.0.0.1:{self._port}",
            "KIE_WEBHOOK_HMAC_KEY": "the-campaign's-webhook-key",
            "UNKNOWN_LIMIT_SECONDS": str(UNKNOWN_LIMIT_SECONDS),
            "WORKER_HTTP_PORT": str(self._port if number == 1 else 0),
            "LOG_FORMAT": "json",
        }
        name = f"worker {number}"
        arguments = [sys.executable, "-m", "worker"]
        folder = log_folder(house, self.name)
        return Keeper(name, arguments, environ, started_word="worker_started", folder=folder)

    async def place_over(self, house: House, jobs: int, seconds: float) -> None:
        """Place the jobs evenly over the seconds."""
        clock = asyncio.get_running_loop().time
        async with Producer.over(house.servers) as producer:
            started_at, placed = clock(), 0
            while placed < jobs:
                until = due(clock() - started_at, jobs, seconds)
                orders = [order_of(number) for number in range(placed, until)]
                await producer.enqueue_many(orders)
                placed = max(placed, until)
                await asyncio.sleep(_TICK_SECONDS)

    async def ends(self, connection: asyncpg.Connection) -> Sequence[End]:
        """Return how its jobs stand."""
        return await _ends(connection, _DARKROOM_ENDS)


class PeerFighter:
    """A pipeline of `bench/peers/`, every option of its library at its default."""

    def __init__(self, library: str) -> None:
        self._peer = Peer(library, KIES_ADVICE, is_tuned=False)

    @property
    def name(self) -> str:
        """The library and its version."""
        return self._peer.name

    def keeper(self, house: House, number: int) -> Keeper:
        """Return what keeps worker `number` (from 1) running."""
        program = self._peer.worker(house)
        return Keeper(
            f"worker {number}",
            program.arguments,
            program.environ,
            started_word=READY,
            folder=log_folder(house, self.name),
        )

    async def place_over(self, house: House, jobs: int, seconds: float) -> None:
        """Place the jobs evenly over the seconds, from a process of its own."""
        await self._peer.place_over(house, jobs, seconds)

    async def ends(self, connection: asyncpg.Connection) -> Sequence[End]:
        """Return how its jobs stand."""
        return await _ends(connection, _PEER_ENDS)


async def _ends(connection: asyncpg.Connection, query: str) -> Sequence[End]:
    rows = await connection.fetch(query)
    return [
        End(row["prompt"], row["state"], row["placed"], row["ended"], row["charges"])
        for row in rows
    ]
