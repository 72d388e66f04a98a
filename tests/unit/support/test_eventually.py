"""The waits of a failover campaign end at their deadline. The error names the condition."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from tests.support.eventually import until, within


async def _never() -> bool:
    await asyncio.Event().wait()
    return True


async def _not_yet() -> bool:
    return False


async def _swallow() -> bool:
    # As a client does that drops the cancellation which comes while it waits.
    try:
        await asyncio.sleep(5)
    except asyncio.CancelledError:
        return False
    return False


@pytest.mark.parametrize("ask", [_never, _not_yet, _swallow])
async def test_a_condition_that_stays_false_fails_at_the_deadline(ask: object) -> None:
    began = monotonic()
    with pytest.raises(AssertionError, match=r"after 0\.3 s still not: the server answers"):
        await until(ask, "the server answers", 0.3)  # type: ignore[arg-type]
    assert monotonic() - began < 3


async def test_a_result_and_an_error_are_passed_on() -> None:
    async def fail() -> None:
        raise ValueError("its own words")

    async def succeed() -> int:
        return 7

    assert await within(5, "it works", succeed()) == 7
    with pytest.raises(ValueError, match="its own words"):
        await within(5, "it works", fail())


async def test_abandoned_work_has_closed_what_it_opened() -> None:
    closed = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            closed.append("servers")

    with pytest.raises(AssertionError, match="the campaign has ended"):
        await within(0.1, "the campaign has ended", work())
    assert closed == ["servers"]
