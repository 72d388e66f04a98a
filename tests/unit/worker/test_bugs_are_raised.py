"""An error in the background is raised to its caller or logged, and never left to the garbage
collector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.errors import RedisDown
from worker.batching.micro_batch import MicroBatch


async def test_a_caller_gets_the_error_of_a_bug_instead_of_a_cancellation() -> None:
    async def send(_: Sequence[int]) -> Sequence[int]:
        raise KeyError("a bug")

    batch: MicroBatch[int, int] = MicroBatch(send)
    replies = await asyncio.gather(
        batch.send_and_wait(1), batch.send_and_wait(2), return_exceptions=True
    )
    assert [type(reply) for reply in replies] == [KeyError, KeyError]


async def test_a_batch_continues_after_a_bug() -> None:
    async def send(items: Sequence[int]) -> Sequence[int]:
        if 1 in items:
            raise KeyError("a bug")
        return items

    batch: MicroBatch[int, int] = MicroBatch(send)
    with pytest.raises(KeyError):
        await batch.send_and_wait(1)
    assert await batch.send_and_wait(2) == 2


def test_a_connection_that_uvloop_found_closed_is_an_outage() -> None:
    said = "unable to perform operation on <TCPTransport closed=True>; the handler is closed"
    with pytest.raises(RedisDown, match="TCPTransport"), translated_redis_errors():
        raise RuntimeError(said)


def test_any_other_runtime_error_is_a_bug_and_stays_one() -> None:
    with pytest.raises(RuntimeError, match="of ours"), translated_redis_errors():
        raise RuntimeError("a bug of ours")
