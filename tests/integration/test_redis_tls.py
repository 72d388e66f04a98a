"""Redis over TLS: which servers are trusted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shared.adapters.redis.deliveries import DeliveryQueue, connect_redis
from shared.adapters.redis.subscription import subscribed
from shared.adapters.servers import Servers
from shared.errors import RedisDown
from tests.support.tls_server import (
    CA_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
    OTHER_CA_FILE,
    tls_in_front_of,
)

OWN_CA = f"ssl_ca_certs={CA_FILE}"


@pytest.mark.parametrize(
    ("host", "query", "fault"),
    [
        ("localhost", OWN_CA, None),
        ("127.0.0.1", OWN_CA, "certificate is not valid for '127.0.0.1'"),
        ("127.0.0.1", f"{OWN_CA}&ssl_check_hostname=false", None),
        ("localhost", "", "certificate verify failed"),
        ("localhost", f"ssl_ca_certs={OTHER_CA_FILE}", "certificate verify failed"),
        ("127.0.0.1", "ssl_cert_reqs=none", None),
    ],
)
async def test_a_server_is_trusted_by_its_authority_and_its_name(
    servers: Servers, host: str, query: str, fault: str | None
) -> None:
    async with (
        tls_in_front_of(urlsplit(servers.redis_url).path) as port,
        connect_redis(f"rediss://{host}:{port}/0?{query}", connections=2) as redis,
    ):
        delivery_queue = DeliveryQueue(redis)
        if fault is None:
            await delivery_queue.ping()
            async with subscribed(redis, "darkroom:wake"):
                pass
        else:
            with pytest.raises(RedisDown, match="does not answer.*" + fault):
                await delivery_queue.ping()


async def test_a_server_that_asks_for_a_certificate_is_shown_it(servers: Servers) -> None:
    path = urlsplit(servers.redis_url).path
    own = f"ssl_certfile={CERTIFICATE_FILE}&ssl_keyfile={KEY_FILE}"
    async with tls_in_front_of(path, needs_certificate=True) as port:
        url = f"rediss://localhost:{port}?{OWN_CA}"
        async with connect_redis(url) as without:
            with pytest.raises(RedisDown):
                await DeliveryQueue(without).ping()
        async with connect_redis(f"{url}&{own}") as redis:
            await DeliveryQueue(redis).ping()


async def test_a_plain_url_to_a_server_with_tls_is_no_hang(servers: Servers) -> None:
    async with (
        tls_in_front_of(urlsplit(servers.redis_url).path) as port,
        connect_redis(f"redis://localhost:{port}") as redis,
    ):
        with pytest.raises(RedisDown):
            await DeliveryQueue(redis).ping()


@asynccontextmanager
async def sentinel_that_names(port: int, folder: Path) -> AsyncIterator[str]:
    """Answer as a Sentinel whose primary is `localhost` on that port. Yields the socket's path."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line.startswith(b"SETINFO"):
                writer.write(b"+OK\r\n")
            elif line.startswith(b"GET-MASTER-ADDR-BY-NAME"):
                writer.write(b"*2\r\n$9\r\nlocalhost\r\n$%d\r\n%d\r\n" % (len(str(port)), port))
        writer.close()

    path = str(folder / "sentinel.sock")
    async with await asyncio.start_unix_server(answer, path):
        yield path


@pytest.mark.parametrize(
    ("query", "fault"),
    [(OWN_CA, None), ("", "certificate verify failed")],
)
async def test_the_options_hold_for_sentinels_and_their_primary(
    servers: Servers, tmp_path: Path, query: str, fault: str | None
) -> None:
    async with (
        tls_in_front_of(urlsplit(servers.redis_url).path) as primary,
        sentinel_that_names(primary, tmp_path) as socket_path,
        tls_in_front_of(socket_path) as sentinel,
        connect_redis(f"rediss+sentinel://localhost:{sentinel}/main?{query}") as redis,
    ):
        if fault is None:
            await DeliveryQueue(redis).ping()
        else:
            with pytest.raises(RedisDown, match=fault):
                await DeliveryQueue(redis).ping()
