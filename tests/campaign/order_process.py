"""The backend service of a campaign: places the orders when they are due, and may be killed.

Run as `python -m tests.campaign.order_process '{...}'`. After a death it begins again a few orders
before the last one that it knows to be placed, as a backend service would that cannot know. Most
orders go over the HTTP API, every third through the Python client.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from random import Random

import aiohttp
import orjson

from producer import Producer
from shared.errors import PostgresDown
from shared.settings import load_settings
from tests.campaign.campaign_orders import OrderBook, comes_by_client, is_short, is_taken_back
from tests.campaign.http_orders import HttpOrders

STARTED = "the producer has started"
_OVERLAP = 10
_MOST_AT_ONCE = 50
_TICK_SECONDS = 0.05
_REPEATED_SHARE = 0.1
_TWICE_AT_ONCE_SHARE = 0.1


class OrderProcess:
    """Places orders, again if in doubt. The idempotency key makes them one job."""

    def __init__(
        self, producer: Producer, api: HttpOrders, book: OrderBook, progress: Path
    ) -> None:
        self._producer = producer
        self._api = api
        self._book = book
        self._progress = progress
        self._random = Random(time.time_ns())

    async def place_all(self) -> None:
        """Place every order. Waits while Postgres or the API is down."""
        number = max(0, self._placed_before() - _OVERLAP)
        while number < self._book.length:
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
        by_client = [number for number in numbers if comes_by_client(number)]
        by_http = [number for number in numbers if not comes_by_client(number)]
        async with asyncio.TaskGroup() as group:
            placing = group.create_task(self._place_by_client(by_client))
            for number in by_http:
                group.create_task(self._place_by_http(number))
        return placing.result()

    async def _place_by_client(self, numbers: list[int]) -> bool:
        try:
            await self._producer.enqueue_many([self._book.order(number) for number in numbers])
        except PostgresDown:
            # The commit may have succeeded: the same keys are sent again.
            return False
        return True

    async def _place_by_http(self, number: int) -> None:
        # Two requests of the short account may differ: one is refused, the next is accepted.
        is_doubled = not is_short(number) and self._random.random() < _TWICE_AT_ONCE_SHARE
        order = self._book.order(number)
        job_id = await self._api.place(order, times=2 if is_doubled else 1)
        if job_id is not None and is_taken_back(number):
            await self._api.take_back(job_id)

    def _placed_before(self) -> int:
        return int(self._progress.read_text("ascii")) if self._progress.exists() else 0

    def _note(self, number: int) -> None:
        draft = self._progress.with_suffix(".draft")
        draft.write_text(str(number), "ascii")
        draft.replace(self._progress)


async def place_orders(arguments: str) -> None:
    """Connect by the environment, and place the orders of the argument, a JSON object."""
    given = orjson.loads(arguments)
    book = OrderBook(
        given["seed"],
        given["jobs"],
        given["started_epoch"],
        given["window_seconds"],
        given["webhook_url"],
    )
    settings = load_settings()
    base_url = f"http://{settings.api_host}:{settings.api_port}"
    async with Producer.connect(settings) as producer, aiohttp.ClientSession() as session:
        sys.stderr.write(f"{STARTED}\n")
        sys.stderr.flush()
        api = HttpOrders(session, base_url, Path(given["refused"]))
        await OrderProcess(producer, api, book, Path(given["progress"])).place_all()


if __name__ == "__main__":
    asyncio.run(place_orders(sys.argv[1]))
