"""The sliding log on a real Valkey: what counts, for how long, and the wait that it returns."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from time import monotonic

import pytest
from arq.connections import ArqRedis

from shared.adapters.redis.deliveries import connect_redis
from shared.errors import StaleJob
from tests.integration.worker.bare_lanes import redis_behind_a_relay
from tests.support.deployment import eventually
from worker.batching.redis_scripts import RedisScripts
from worker.limits.throttle import WINDOW_MARGIN_MS, Limit, Throttle, Throttled, poll_limit

WINDOW_MS = 200
HORIZON_MS = 600


@pytest.fixture
def throttle(scripts: RedisScripts) -> Throttle:
    """At most 3 in 0.2 s; an unanswered request counts for 0.6 s."""
    return Throttle(scripts, Limit("test:log", 3, WINDOW_MS, HORIZON_MS))


async def ask(throttle: Throttle, name: str = "task") -> float:
    """Send one request that is answered at once. Return the wait if it is refused, else 0."""
    try:
        async with throttle.permit(name):
            return 0
    except Throttled as throttled:
        return throttled.wait_seconds


async def ask_until_granted(throttle: Throttle, name: str = "task") -> float:
    """Wait as long as the throttle returns, as often as needed. Returns the seconds until the
    permit.
    """
    started_at = monotonic()
    async with asyncio.timeout(5):
        while (wait_seconds := await ask(throttle, name)) > 0:
            await asyncio.sleep(wait_seconds)
    return monotonic() - started_at


async def test_the_limit_is_granted_and_the_next_must_wait(throttle: Throttle) -> None:
    assert [await ask(throttle) for _ in range(3)] == [0, 0, 0]
    assert 0 < await ask(throttle) <= (WINDOW_MS + WINDOW_MARGIN_MS) / 1000


async def test_the_wait_is_exact_to_a_few_milliseconds(throttle: Throttle) -> None:
    for _ in range(3):
        await ask(throttle)
    first_wait = await ask(throttle)
    await asyncio.sleep(first_wait - 0.05)
    assert await ask(throttle) > 0
    await asyncio.sleep(0.055)
    assert await ask(throttle) == 0


async def test_an_unanswered_request_counts_and_an_answer_counts_from_when_it_came(
    throttle: Throttle,
) -> None:
    async with AsyncExitStack() as unanswered:
        for _ in range(3):
            await unanswered.enter_async_context(throttle.permit("task"))
        await asyncio.sleep((WINDOW_MS + WINDOW_MARGIN_MS + 50) / 1000)
        assert await ask(throttle) > 0, "a window has gone by since the grant, but not the answer"
    answered_at = monotonic()
    waited = await ask_until_granted(throttle)
    assert waited >= WINDOW_MS / 1000
    assert monotonic() - answered_at < (WINDOW_MS + WINDOW_MARGIN_MS) / 1000 + 0.15


async def test_no_caller_waits_longer_than_an_answer_now_would_count(
    throttle: Throttle,
) -> None:
    async with AsyncExitStack() as unanswered:
        for _ in range(3):
            await unanswered.enter_async_context(throttle.permit("task"))
        assert await ask(throttle) == (WINDOW_MS + WINDOW_MARGIN_MS) / 1000


async def test_a_request_that_is_never_answered_counts_until_its_horizon(
    throttle: Throttle,
) -> None:
    granted_at = monotonic()
    abandoned = [throttle.permit("task") for _ in range(3)]
    for slot in abandoned:
        await slot.__aenter__()
    await ask_until_granted(throttle)
    assert monotonic() - granted_at + 0.002 >= HORIZON_MS / 1000
    for slot in abandoned:
        await slot.__aexit__(None, None, None)


async def test_a_cancelled_request_counts_until_its_horizon_because_it_may_arrive_yet(
    throttle: Throttle,
) -> None:
    async def send_for_ever() -> None:
        async with throttle.permit("task"):
            inside.release()
            await asyncio.Event().wait()

    inside = asyncio.Semaphore(0)
    granted_at = monotonic()
    requests = [asyncio.create_task(send_for_ever()) for _ in range(3)]
    for _ in requests:
        await inside.acquire()
    for request in requests:
        request.cancel()
    await asyncio.gather(*requests, return_exceptions=True)
    await ask_until_granted(throttle)
    assert monotonic() - granted_at > HORIZON_MS / 1000 - 0.002


async def test_an_answer_after_the_horizon_counts_for_a_whole_window(
    redis: ArqRedis, scripts: RedisScripts
) -> None:
    # The log's own life is a second longer than the horizon; an answer then must prolong it.
    throttle = Throttle(scripts, Limit("test:log", 1, 2_000, 100))
    async with throttle.permit("task"):
        await asyncio.sleep(0.9)

    async def lives_longer() -> bool:
        return int(await redis.pttl("test:log:task")) > 1_900

    await eventually(lives_longer, "the answer has been noted")
    assert 1.8 < await ask(throttle) <= 2.025


async def test_an_error_inside_the_block_is_passed_on_and_counts_as_answered(
    throttle: Throttle,
) -> None:
    with pytest.raises(StaleJob):
        async with throttle.permit("task"):
            raise StaleJob("1", "claimed")
    assert [await ask(throttle) for _ in range(2)] == [0, 0]
    assert 0 < await ask(throttle) <= (WINDOW_MS + WINDOW_MARGIN_MS) / 1000


async def test_each_name_has_its_own_log(throttle: Throttle) -> None:
    for _ in range(3):
        await ask(throttle, "one")
    assert await ask(throttle, "one") > 0
    assert await ask(throttle, "another") == 0


async def test_the_log_of_a_forgotten_task_goes_away_by_itself(
    redis: ArqRedis, scripts: RedisScripts
) -> None:
    throttle = Throttle(scripts, poll_limit(3, 8))
    await ask(throttle)
    assert 0 < await redis.pttl("darkroom:throttle:poll:task") <= 11_000


async def test_with_redis_down_at_the_answer_the_request_stays_counted(
    redis: ArqRedis, scripts: RedisScripts, embedded_redis_url: str
) -> None:
    limit = Limit("test:log", 1, WINDOW_MS, 60_000)
    async with (
        redis_behind_a_relay(embedded_redis_url) as (outage, url),
        connect_redis(url) as relayed,
        aclosing(RedisScripts(relayed)) as cut_off,
        Throttle(cut_off, limit).permit("task"),
    ):
        await outage.cut()
    assert await ask(Throttle(scripts, limit)) == (WINDOW_MS + WINDOW_MARGIN_MS) / 1000
    score = (await redis.zrange("test:log:task", 0, -1, withscores=True))[0][1]
    seconds, microseconds = await redis.time()
    assert score - (seconds * 1000 + microseconds / 1000) > 50_000


async def test_grants_of_many_at_once_never_exceed_the_limit(throttle: Throttle) -> None:
    grants = [
        wait for wait in await asyncio.gather(*(ask(throttle) for _ in range(50))) if not wait
    ]
    assert len(grants) == 3


async def test_the_answers_of_a_busy_worker_are_noted_before_its_client_is_closed(
    redis: ArqRedis,
) -> None:
    names = [f"task {number}" for number in range(30)]  # more than the burst of an interval
    async with aclosing(RedisScripts(redis)) as scripts:
        throttle = Throttle(scripts, Limit("test:log", 1, WINDOW_MS, 60_000))
        assert [await ask(throttle, name) for name in names] == [0] * len(names)
    seconds, _ = await redis.time()
    for name in names:
        ((_, counts_until_ms),) = await redis.zrange(f"test:log:{name}", 0, -1, withscores=True)
        assert counts_until_ms < seconds * 1_000 + 10_000, f"{name} still counts as unanswered"
