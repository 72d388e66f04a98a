"""When a lane timing: at a call, at the fallback that all lanes share, and in its interval."""

from __future__ import annotations

import asyncio

from worker.queue.claim_timing import FALLBACK_CLAIM_SECONDS, ClaimTiming


async def test_lanes_without_wake_ups_claim_at_the_same_tick() -> None:
    loop = asyncio.get_running_loop()
    ends: list[float] = []

    async def sleep_out() -> None:
        await ClaimTiming(25).sleep(10)
        ends.append(loop.time())

    early = asyncio.create_task(sleep_out())
    late = loop.create_future()
    loop.call_later(FALLBACK_CLAIM_SECONDS / 2, late.set_result, None)
    await late
    await asyncio.gather(early, sleep_out())
    # Or the fallback came between the two beginnings, and they are one apart.
    apart = (ends[1] - ends[0]) % FALLBACK_CLAIM_SECONDS
    assert min(apart, FALLBACK_CLAIM_SECONDS - apart) < 0.1, ends


async def test_no_sleep_is_longer_than_the_fallback() -> None:
    async with asyncio.timeout(FALLBACK_CLAIM_SECONDS + 0.5):
        await ClaimTiming(25).sleep(3600)


async def test_a_wake_up_ends_the_sleep_at_once_and_leads_to_a_claim() -> None:
    timing = ClaimTiming(25)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(5):  # the fallback may end one of these sleeps by chance, not all
        loop.call_soon(timing.wake)
        await timing.sleep(3600)
        await timing.wait_until_allowed()
    assert loop.time() - began < FALLBACK_CLAIM_SECONDS
