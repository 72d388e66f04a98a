"""The main job, end to end: request, images, credits, over real Postgres, Valkey and HTTP."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from producer import JobState
from tests.workshop import Workshop, image_to_image, text_to_image


@pytest.mark.parametrize("quantity", [1, 2, 4])
async def test_m1_m4_both_tasks_deliver_every_quantity(workshop: Workshop, quantity: int) -> None:
    async with workshop.worker():
        jobs = [
            await workshop.enqueue(text_to_image(f"text {quantity}", quantity=quantity)),
            await workshop.enqueue(image_to_image(prompt=f"image {quantity}", quantity=quantity)),
        ]
        ended = [await workshop.ended(job) for job in jobs]
    assert [job.state for job in ended] == [JobState.SUCCEEDED] * 2
    assert [len(job.result_urls) for job in ended] == [quantity] * 2
    charge = {1: 6, 2: 7, 4: 8}[quantity]
    assert [job.credits_charged for job in ended] == [Decimal(charge)] * 2
    assert (await workshop.producer.balance("acme")).available == 10_000 - 2 * charge
    await workshop.check_books()
    workshop.check_paid_once()


async def test_200_jobs_all_end_and_the_ledger_is_exact(workshop: Workshop) -> None:
    async with workshop.worker():
        jobs = await asyncio.gather(
            *(workshop.enqueue(text_to_image(f"one of 200: {n}")) for n in range(200))
        )
        ended = await asyncio.gather(*(workshop.ended(job, 60) for job in jobs))
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    account = await workshop.producer.balance("acme")
    assert (account.balance, account.held) == (10_000 - 200 * 6, 0)
    await workshop.check_books()
    workshop.check_paid_once()
    assert len(workshop.simulator.record.tasks) == 200
