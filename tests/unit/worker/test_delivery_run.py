"""How late a delivery is, as the task that runs it sees it."""

from __future__ import annotations

import asyncio

from worker.queue.due_time import due_at, lateness_seconds

DUE = 1_000.0
NOW = 1_002.5


async def ask() -> float | None:
    await asyncio.sleep(0)
    return lateness_seconds(NOW)


async def test_a_task_knows_how_late_its_own_delivery_is() -> None:
    with due_at(DUE):
        first = asyncio.create_task(ask())
    with due_at(DUE + 1.0):
        second = asyncio.create_task(ask())
    assert (await first, await second) == (2.5, 1.5)


async def test_outside_of_a_delivery_nobody_knows() -> None:
    with due_at(DUE):
        pass
    assert await ask() is None


async def test_a_delivery_that_is_run_before_its_time_is_not_late() -> None:
    with due_at(DUE + 60.0):
        assert await asyncio.create_task(ask()) == 0.0
