"""The stand-in for aioresponses' answer class is there only as long as it is needed."""

from __future__ import annotations

import asyncio

import aiohttp
import aioresponses.core
import pytest
from aioresponses import aioresponses as mocked_http

NO_LONGER_NEEDED = (
    "aioresponses works with this aiohttp by itself: remove tests/fakes/aiohttp_compat.py,"
    " the calls of install_shim, and this test"
)


async def test_aioresponses_still_needs_the_stand_in_for_its_answer_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aioresponses.core, "ClientResponse", aiohttp.ClientResponse)
    with mocked_http() as http:
        http.get("https://api.kie.ai/", payload={})
        async with aiohttp.ClientSession() as session:
            (outcome,) = await asyncio.gather(
                session.get("https://api.kie.ai/"), return_exceptions=True
            )
    assert isinstance(outcome, TypeError), NO_LONGER_NEEDED
    assert "stream_writer" in str(outcome)
