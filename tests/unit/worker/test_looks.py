"""When a lane looks: at a call, at the fallback that all lanes share, and in its tempo."""

from __future__ import annotations

import asyncio

from worker.gathering import Alarm
from worker.looks import FALLBACK_SECONDS, Looks


async def test_lanes_that_nobody_calls_look_at_the_same_moment() -> None:
    loop = asyncio.get_running_loop()
    ends: list[float] = []

    async def sleep_out() -> None:
        await Looks(25).sleep(10)
        ends.append(loop.time())

    early = asyncio.create_task(sleep_out())
    late = loop.create_future()
    loop.call_later(FALLBACK_SECONDS / 4, late.set_result, None)
    await late
    await asyncio.gather(early, sleep_out())
    # Or the fallback came between the two beginnings, and they are one apart.
    apart = (ends[1] - ends[0]) % FALLBACK_SECONDS
    assert min(apart, FALLBACK_SECONDS - apart) < 0.1, ends


async def test_no_sleep_is_longer_than_the_fallback() -> None:
    async with asyncio.timeout(FALLBACK_SECONDS + 0.5):
        await Looks(25).sleep(3600)


async def test_a_call_ends_the_sleep_at_once() -> None:
    looks = Looks(25)
    loop = asyncio.get_running_loop()
    loop.call_soon(looks.call)
    began = loop.time()
    await looks.sleep(3600)
    await looks.wait_for_turn()
    assert loop.time() - began < FALLBACK_SECONDS / 2


async def test_an_alarm_rings_until_it_is_stopped() -> None:
    alarm = Alarm()
    alarm.ring()
    await alarm.wait(3600)
    await alarm.wait(3600)
    alarm.stop()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await alarm.wait(0.02)
    assert loop.time() - began >= 0.019


async def test_a_wait_that_was_cancelled_leaves_the_alarm_as_it_was() -> None:
    alarm = Alarm()
    waiting = asyncio.create_task(alarm.wait(3600))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    alarm.ring()
    await alarm.wait(3600)
