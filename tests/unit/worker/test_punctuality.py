"""How late a delivery is, as the task that runs it sees it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from worker.punctuality import due_at, lateness_seconds

DUE_MS = 1_000_000
NOW = datetime.fromtimestamp(1_002.5, UTC)


async def ask() -> float | None:
    await asyncio.sleep(0)
    return lateness_seconds(NOW)


async def test_a_task_knows_how_late_its_own_delivery_is() -> None:
    with due_at(DUE_MS):
        first = asyncio.create_task(ask())
    with due_at(DUE_MS + 1_000):
        second = asyncio.create_task(ask())
    assert (await first, await second) == (2.5, 1.5)


async def test_outside_of_a_delivery_nobody_knows() -> None:
    with due_at(DUE_MS):
        pass
    assert await ask() is None


async def test_a_clock_that_is_behind_makes_nothing_early() -> None:
    with due_at(DUE_MS + 60_000):
        assert await asyncio.create_task(ask()) == 0.0
