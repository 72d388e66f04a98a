"""Calls of the same time are sent together, and each gets its own reply."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from shared.errors import RedisDown
from worker.batching.micro_batch import BatchInterval, MicroBatch


class Sender:
    """Doubles numbers, and notes in which groups they came."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, numbers: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(list(numbers))
        await self.may_answer.wait()
        if 13 in numbers:
            raise RedisDown("no luck")
        if 99 in numbers:
            raise ZeroDivisionError
        return [ValueError("odd") if number % 2 else number * 2 for number in numbers]


async def test_items_of_one_tick_are_sent_together_in_order() -> None:
    sender = Sender()
    batch: MicroBatch[int, int] = MicroBatch(sender)
    assert await asyncio.gather(*(batch.send_and_wait(number) for number in (2, 4, 6))) == [
        4,
        8,
        12,
    ]
    assert sender.groups == [[2, 4, 6]]


async def test_items_that_arrive_during_a_call_are_sent_with_the_next_one() -> None:
    sender = Sender()
    sender.may_answer.clear()
    batch: MicroBatch[int, int] = MicroBatch(sender)
    first = asyncio.create_task(batch.send_and_wait(2))
    while not sender.groups:
        await asyncio.sleep(0)
    others = [asyncio.create_task(batch.send_and_wait(number)) for number in (4, 6)]
    await asyncio.sleep(0)
    sender.may_answer.set()
    assert await asyncio.gather(first, *others) == [4, 8, 12]
    assert sender.groups == [[2], [4, 6]]


async def test_no_group_is_longer_than_the_most() -> None:
    sender = Sender()
    batch: MicroBatch[int, int] = MicroBatch(sender, most=2)
    await asyncio.gather(*(batch.send_and_wait(number) for number in (2, 4, 6, 8, 10)))
    assert sender.groups == [[2, 4], [6, 8], [10]]


async def test_a_failure_is_raised_only_to_its_own_caller() -> None:
    batch: MicroBatch[int, int] = MicroBatch(Sender())
    replies = await asyncio.gather(*map(batch.send_and_wait, (2, 3, 4)), return_exceptions=True)
    assert replies[0] == 4
    assert isinstance(replies[1], ValueError)
    assert replies[2] == 8


async def test_an_outage_is_raised_to_all_callers_and_work_continues_afterwards() -> None:
    batch: MicroBatch[int, int] = MicroBatch(Sender())
    replies = await asyncio.gather(*map(batch.send_and_wait, (2, 13)), return_exceptions=True)
    assert [type(reply) for reply in replies] == [RedisDown, RedisDown]
    assert await batch.send_and_wait(2) == 4


async def test_a_waiter_that_left_is_not_notified() -> None:
    sender = Sender()
    sender.may_answer.clear()
    batch: MicroBatch[int, int] = MicroBatch(sender)
    asks = [asyncio.create_task(batch.send_and_wait(number)) for number in (2, 4)]
    while not sender.groups:
        await asyncio.sleep(0)
    asks[0].cancel()
    sender.may_answer.set()
    assert await asks[1] == 8
    assert asks[0].cancelled()


async def test_a_bug_is_raised_to_its_caller_and_stops_no_other_call() -> None:
    batch: MicroBatch[int, int] = MicroBatch(Sender())
    with pytest.raises(ZeroDivisionError):
        await batch.send_and_wait(99)
    assert await batch.send_and_wait(2) == 4


async def test_a_call_that_nobody_awaits_is_made_and_its_failure_is_logged() -> None:
    sender = Sender()
    batch: MicroBatch[int, int] = MicroBatch(sender)
    with capture_logs() as logs:
        batch.send_later(4)
        assert await batch.send_and_wait(2) == 4
        batch.send_later(13)
        with pytest.raises(RedisDown):
            await batch.send_and_wait(6)
        await asyncio.sleep(0)
    assert sender.groups == [[4, 2], [13, 6]]
    assert [entry["event"] for entry in logs] == ["dependency_down"]


async def test_a_call_that_nobody_awaits_is_made_after_a_flush() -> None:
    sender = Sender()
    sender.may_answer.clear()
    batch: MicroBatch[int, int] = MicroBatch(sender, most=1)
    batch.send_later(2)
    batch.send_later(4)
    flushed = asyncio.create_task(batch.flush())
    while not sender.groups:
        await asyncio.sleep(0)
    assert not flushed.done()
    sender.may_answer.set()
    await flushed
    assert sender.groups == [[2], [4]]


def test_the_first_few_go_at_once_and_then_so_many_per_second() -> None:
    interval = BatchInterval(100, burst=3)
    waits = [interval.seconds_until_next(10.0) for _ in range(6)]
    assert waits[:4] == [0, 0, 0, 0]
    assert waits[4:] == pytest.approx([0.01, 0.02])


def test_waiting_batches_wait_for_one_shared_tick() -> None:
    eager, late, slow = (
        BatchInterval(25, burst=0),
        BatchInterval(25, burst=0),
        BatchInterval(12.5, burst=0),
    )
    for interval, began in ((eager, 10.001), (late, 10.013), (slow, 10.019)):
        assert interval.seconds_until_next(began) == 0
        assert interval.seconds_until_next(began + 0.001) > 0
    ticks = [
        began + interval.seconds_until_next(began)
        for interval, began in ((eager, 10.021), (late, 10.033), (slow, 10.039))
    ]
    assert [tick / 0.04 for tick in ticks] == pytest.approx([round(tick / 0.04) for tick in ticks])


def test_a_batch_that_follows_the_tick_is_sent_after_its_offset() -> None:
    interval = BatchInterval(25, burst=0, offset_seconds=0.006)
    assert interval.seconds_until_next(10.0) == 0
    assert 10.001 + interval.seconds_until_next(10.001) == pytest.approx(10.046)
    assert 10.047 + interval.seconds_until_next(10.047) == pytest.approx(10.086)


def test_batches_at_ticks_are_never_more_frequent_than_the_interval() -> None:
    interval, now = BatchInterval(25, burst=3), 10.0
    for _ in range(250):
        now += interval.seconds_until_next(now) + 0.0007
    assert now - 10.0 >= (250 - 4) / 25


async def test_after_any_number_of_urgent_items_the_next_waits_for_one_interval() -> None:
    interval, urgent = BatchInterval(20, burst=0), asyncio.Event()
    loop = asyncio.get_running_loop()
    interval.seconds_until_next(loop.time())
    for _ in range(100):
        loop.call_soon(urgent.set)
        await interval.wait(urgent)
        urgent.clear()
    assert interval.seconds_until_next(loop.time()) <= 2 * 0.05


def test_a_pause_hands_the_first_jobs_back() -> None:
    interval = BatchInterval(100, burst=3)
    for _ in range(10):
        interval.seconds_until_next(10.0)
    assert [interval.seconds_until_next(20.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0])


async def test_beyond_the_rate_items_are_sent_together() -> None:
    sender = Sender()
    batch: MicroBatch[int, int] = MicroBatch(sender, interval=BatchInterval(20, burst=0))
    assert await batch.send_and_wait(2) == 4
    assert await asyncio.gather(*(batch.send_and_wait(number) for number in (4, 6, 8))) == [
        8,
        12,
        16,
    ]
    assert sender.groups == [[2], [4, 6, 8]]


async def test_urgent_items_ignore_the_interval_and_are_sent_with_all_waiting_items() -> None:
    sender = Sender()
    batch: MicroBatch[int, int] = MicroBatch(sender, interval=BatchInterval(0.001, burst=0))
    assert await batch.send_and_wait(2) == 4
    waiting = asyncio.create_task(batch.send_and_wait(4))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert await batch.send_and_wait(6, is_urgent=True) == 12
        assert await waiting == 8
    assert sender.groups == [[2], [4, 6]]


async def test_after_an_urgent_item_the_interval_applies_again() -> None:
    sender = Sender()
    batch: MicroBatch[int, int] = MicroBatch(sender, interval=BatchInterval(0.001, burst=0))
    assert await batch.send_and_wait(2, is_urgent=True) == 4
    assert await batch.send_and_wait(4) == 8
    late = asyncio.create_task(batch.send_and_wait(6))
    _, waiting = await asyncio.wait([late], timeout=0.05)
    assert waiting == {late}
    assert sender.groups == [[2], [4]]
    late.cancel()


async def test_urgent_items_are_sent_at_once_even_behind_more_than_one_batch() -> None:
    sender = Sender()
    batch: MicroBatch[int, int] = MicroBatch(sender, most=2, interval=BatchInterval(0.001, burst=0))
    assert await batch.send_and_wait(2) == 4
    asks = [asyncio.create_task(batch.send_and_wait(number)) for number in (4, 6, 8)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert await batch.send_and_wait(10, is_urgent=True) == 20
        assert await asyncio.gather(*asks) == [8, 12, 16]
    assert sender.groups == [[2], [4, 6], [8, 10]]
