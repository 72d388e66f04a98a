"""The simulator and the fake take uploads alike, as Kie's upload host was recorded to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import pytest
from pydantic import SecretStr

from shared.adapters.kie.file_uploads import FileUploads
from shared.adapters.kie.kie_connection import UploadAccess
from shared.errors import UploadFailed
from tests.fakes.fake_uploads import receiving_uploads
from tests.support.deployment import fast_simulator_config
from tests.support.example_images import encoded_image, large_png
from worker.simulator import running_simulator

PNG = encoded_image("PNG")
LARGE = large_png(1_500_000)


@dataclass(frozen=True, slots=True)
class UploadHost:
    """An upload host, and how to read what it stores."""

    access: UploadAccess
    read_size: Callable[[str], Awaitable[int]]


@asynccontextmanager
async def _fake() -> AsyncIterator[UploadHost]:
    async with receiving_uploads() as fake:

        async def read_size(url: str) -> int:
            return fake.sizes[url]

        yield UploadHost(fake.access, read_size)


@asynccontextmanager
async def _simulator() -> AsyncIterator[UploadHost]:
    async with (
        running_simulator(fast_simulator_config()) as simulator,
        aiohttp.ClientSession(simulator.base_url) as session,
    ):

        async def read_size(url: str) -> int:
            async with session.get(urlsplit(url).path) as answer:
                return len(await answer.read())

        access = UploadAccess(simulator.base_url, SecretStr(simulator.api_key))
        yield UploadHost(access, read_size)


HOSTS = {"fake": _fake, "simulator": _simulator}


@pytest.fixture(params=HOSTS)
async def host(request: pytest.FixtureRequest) -> AsyncIterator[UploadHost]:
    async with HOSTS[request.param]() as host:
        yield host


async def _parts(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 70_000):
        yield data[start : start + 70_000]


async def test_a_file_is_stored_in_each_way_under_a_url_of_its_own(host: UploadHost) -> None:
    async with FileUploads(host.access) as uploads:
        small = await uploads.upload_small(PNG, "a.png", "image/png")
        large = await uploads.upload_stream(_parts(LARGE), "b.png", "image/png")
        copy = await uploads.upload_from(large, "c.png")
    assert len({small, large, copy}) == 3
    sizes = [await host.read_size(url) for url in (small, large, copy)]
    assert sizes == [len(PNG), len(LARGE), len(LARGE)]


async def test_a_wrong_key_and_a_dead_url_are_errors(host: UploadHost) -> None:
    wrong = UploadAccess(host.access.base_url, SecretStr("wrong-key"))
    async with FileUploads(wrong) as uploads:
        with pytest.raises(UploadFailed, match="401") as refused:
            await uploads.upload_small(PNG, "a.png", "image/png")
    assert "wrong-key" not in str(refused.value)
    async with FileUploads(host.access) as uploads:
        with pytest.raises(UploadFailed, match="ailed to download"):
            await uploads.upload_from(f"{host.access.base_url}/files/nothing.png", "a.png")


async def test_parts_that_end_with_an_error_are_not_stored(host: UploadHost) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield LARGE[:200_000]
        raise ValueError("no image")

    async with FileUploads(host.access) as uploads:
        with pytest.raises(ValueError, match="no image"):
            await uploads.upload_stream(breaking(), "a.png", "image/png")
        # The client goes on.
        url = await uploads.upload_small(PNG, "a.png", "image/png")
    assert await host.read_size(url) == len(PNG)
