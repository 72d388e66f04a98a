"""Delivers pending webhook messages that Redis does not have.

Postgres names a message to the workers by NOTIFY at the commit that wrote it, and it is delivered
at once. A message that was missed (no worker, a wiped Redis, a replay without Redis) is found page
by page. While no notification is heard, `MessageSearch` looks for new messages.

Messages of one endpoint become due at a fixed spacing. Without it, thousands of messages of one
endpoint would be claimed before the one message of another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import structlog

from shared.adapters.postgres.database import Queries
from shared.adapters.redis.deliveries import Delivery, DeliveryQueue, Lane

log = structlog.get_logger(__name__)

PAGE_LENGTH = 2_000
HORIZON_SECONDS = 60.0
"""A message due later than this is found by a later run."""
DUE_AT_ONCE_PER_ENDPOINT = 100
"""So many messages of one endpoint are due at once. The rest follow at the spacing."""
SPACING_MS = 2.5
_GRACE_SECONDS = 2.0
_ENDPOINTS_KEPT = 5_000
_Cursor = tuple[datetime, UUID]
_FIRST: _Cursor = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


class Outbox:
    """The pending messages, as one worker delivers them. Any number of workers may do so."""

    def __init__(
        self,
        queries: Queries,
        delivery_queue: DeliveryQueue,
        *,
        page_length: int = PAGE_LENGTH,
        on_found: Callable[[int], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queries = queries
        self._delivery_queue = delivery_queue
        self._page_length = page_length
        self._on_found = on_found
        self._monotonic = monotonic
        self._cursor = _FIRST
        self._next_due_ms: dict[UUID, float] = {}

    async def deliver(self, messages: Sequence[tuple[UUID, UUID]]) -> None:
        """Deliver messages, each given with its endpoint, at once or at their spacing.

        A delivery that exists is left as it is. One that is being sent is run once more, because it
        may have been given up and replayed before that run ended. Raises `RedisDown`.
        """
        now_ms = self._monotonic() * 1000
        await self._delivery_queue.deliver(
            [
                Delivery(message_id, Lane.WEBHOOK, self._delay_ms(endpoint_id, 0, now_ms))
                for message_id, endpoint_id in messages
            ],
            rerun_if_running=True,
        )

    async def check_page(self) -> bool:
        """Deliver the messages of the next page that have no delivery. Returns whether it was the
        last page.

        Raises `PostgresDown` or `RedisDown`; the next run makes up for it.
        """
        rows = await self._fetch_page(self._cursor, HORIZON_SECONDS, _GRACE_SECONDS)
        await self._deliver_lacking(rows)
        is_last = len(rows) < self._page_length
        self._cursor = _FIRST if is_last else _cursor_after(rows)
        return is_last

    async def deliver_due_since(self, since: datetime) -> None:
        """Deliver the messages that became due since then, by Postgres's clock, and have no
        delivery.

        Raises `PostgresDown` or `RedisDown`.
        """
        cursor: _Cursor = (since, UUID(int=0))
        while True:
            rows = await self._fetch_page(cursor, horizon_seconds=0.0, grace_seconds=0.0)
            await self._deliver_lacking(rows)
            if len(rows) < self._page_length:
                return
            cursor = _cursor_after(rows)

    async def check_all(self) -> None:
        """Check every page from the first, after a wipe of Redis. Raises as `check_page` does."""
        self._cursor = _FIRST
        while not await self.check_page():
            pass

    async def _fetch_page(
        self, cursor: _Cursor, horizon_seconds: float, grace_seconds: float
    ) -> Sequence[asyncpg.Record]:
        return await self._queries.fetch(
            "pending_webhooks_after", *cursor, horizon_seconds, grace_seconds, self._page_length
        )

    async def _deliver_lacking(self, rows: Sequence[asyncpg.Record]) -> None:
        """Deliver those of these messages that have no delivery."""
        deliveries = [
            Delivery(
                UUID(int=row["id"].int), Lane.WEBHOOK, max(int(row["due_in_seconds"] * 1000), 0)
            )
            for row in rows
        ]
        lacking = await self._delivery_queue.find_missing(deliveries)
        if not lacking:
            return
        now_ms = self._monotonic() * 1000
        endpoint_of = {row["id"]: row["endpoint_id"] for row in rows}
        await self._delivery_queue.deliver(
            [
                replace(one, delay_ms=self._delay_ms(endpoint_of[one.job_id], one.delay_ms, now_ms))
                for one in lacking
            ]
        )
        log.info("webhooks_redelivered", messages=len(lacking))
        if self._on_found is not None:
            self._on_found(len(lacking))

    def _delay_ms(self, endpoint_id: UUID, least_ms: float, now_ms: float) -> float:
        """Return the delay of the next message of this endpoint, and count it."""
        if len(self._next_due_ms) >= _ENDPOINTS_KEPT:
            self._next_due_ms = {one: at for one, at in self._next_due_ms.items() if at > now_ms}
        earliest_ms = now_ms + least_ms
        spent_ms = max(self._next_due_ms.get(endpoint_id, 0.0), earliest_ms)
        self._next_due_ms[endpoint_id] = spent_ms + SPACING_MS
        return max(least_ms, spent_ms - DUE_AT_ONCE_PER_ENDPOINT * SPACING_MS - now_ms)


def _cursor_after(rows: Sequence[asyncpg.Record]) -> _Cursor:
    return rows[-1]["next_try_at"], rows[-1]["id"]
