"""The producer of a campaign, a process to be killed: enqueues the orders as they come due.

Run as `python -m tests.campaign.ordering '{...}'`. After a death it begins again a few orders
before the last one that it knows to be placed, as a backend service would that cannot know.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from random import Random

import orjson

from producer import Producer
from shared.errors import PostgresDown
from shared.settings import load_settings
from tests.campaign.orders import OrderBook, order_of

STARTED = "the producer has started"
_OVERLAP = 10
_MOST_AT_ONCE = 50
_TICK_SECONDS = 0.05
_REPEATED_SHARE = 0.1


class Orderer:
    """Places orders, in doubt twice: the idempotency keys make one job of them."""

    def __init__(self, producer: Producer, book: OrderBook, progress: Path) -> None:
        self._producer = producer
        self._book = book
        self._progress = progress
        self._random = Random(time.time_ns())

    async def place_all(self) -> None:
        """Place every order; outages of Postgres are waited for."""
        number = max(0, self._placed_before() - _OVERLAP)
        while number < self._book.jobs:
            due = min(self._book.due(time.time()), number + _MOST_AT_ONCE)
            numbers = list(range(number, due))
            if self._random.random() < _REPEATED_SHARE and number:
                numbers.append(self._random.randrange(number))
            if not numbers or not await self._place(numbers):
                await asyncio.sleep(_TICK_SECONDS)
                continue
            number = max(number, due)
            self._note(number)

    async def _place(self, numbers: list[int]) -> bool:
        orders = [order_of(self._book.seed, number) for number in numbers]
        try:
            await self._producer.enqueue_many(orders)
        except PostgresDown:
            # Perhaps the commit got through: the same keys are sent again.
            return False
        return True

    def _placed_before(self) -> int:
        return int(self._progress.read_text("ascii")) if self._progress.exists() else 0

    def _note(self, number: int) -> None:
        draft = self._progress.with_suffix(".draft")
        draft.write_text(str(number), "ascii")
        draft.replace(self._progress)


async def place_orders(arguments: str) -> None:
    """Connect by the environment and place what the arguments, a JSON object, describe."""
    given = orjson.loads(arguments)
    book = OrderBook(given["seed"], given["jobs"], given["started_epoch"], given["window_seconds"])
    async with Producer.connect(load_settings()) as producer:
        sys.stderr.write(f"{STARTED}\n")
        sys.stderr.flush()
        await Orderer(producer, book, Path(given["progress"])).place_all()


if __name__ == "__main__":
    asyncio.run(place_orders(sys.argv[1]))
