"""An opened client whose requests aioresponses answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from aioresponses import aioresponses as MockedHttp  # noqa: N812
from pydantic import SecretStr

from tests.fakes.aiohttp_compat import install_shim
from worker.kie.kie_client import KieClient

BASE_URL = "https://api.kie.ai"
KEY = "kie-0123456789abcdef-secret"


@pytest.fixture
def http() -> Iterator[MockedHttp]:
    """Answers every aiohttp request from a script; no socket is opened."""
    install_shim()
    with MockedHttp() as mocked:
        yield mocked


@pytest.fixture
async def client() -> AsyncIterator[KieClient]:
    """An opened client for the real address, to be used together with `http`."""
    async with KieClient(base_url=BASE_URL, api_key=SecretStr(KEY), timeout_seconds=5) as opened:
        yield opened
