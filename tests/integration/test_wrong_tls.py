"""A URL that says TLS to a server without it, or none to a server with it, is told as that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from shared.adapters.postgres.database import connect_database
from shared.adapters.redis.deliveries import DeliveryQueue, connect_redis
from shared.adapters.servers import Servers
from shared.errors import DatabaseUrlRefused, PostgresDown, RedisDown
from tests.support.tls_server import CA_FILE, tls_in_front_of

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

SAY_REDISS = "in REDIS_URL: the scheme: .*has TLS, say rediss://"
SAY_REDIS = "in REDIS_URL: the scheme: if the server has no TLS, say redis://"


def sends(data: bytes) -> Answer:
    """Return a server that sends this to whatever is sent to it, and closes the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(data)
        writer.close()

    return answer


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break each connection, as a server with TLS does with unread bytes of a client without."""
    writer.transport.abort()


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[int]:
    """Serve in the block. Yields the port."""
    async with await asyncio.start_server(answer, "localhost", 0) as server:
        yield int(server.sockets[0].getsockname()[1])


async def ping(url: str) -> None:
    async with connect_redis(url, connections=2) as redis:
        await DeliveryQueue(redis).ping()


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:{port}",
        "redis://user:secret@localhost:{port}/1?client_name=app",
        "redis://localhost:{port}?darkroom_prefix=%7Bshop%7D:",
        "redis+sentinel://user:secret@localhost:{port}/main",
    ],
)
async def test_a_redis_with_tls_is_named_where_the_url_says_none(
    servers: Servers, url: str
) -> None:
    async with tls_in_front_of(urlsplit(servers.redis_url).path) as port:
        with pytest.raises(RedisDown, match=SAY_REDISS) as told:
            await ping(url.format(port=port))
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (reset, SAY_REDISS),
        (sends(b""), SAY_REDISS),
        # The alert of TLS by which OpenSSL and Go answer to a client without it.
        (sends(b"\x15\x03\x01\x00\x02\x02\x46"), SAY_REDISS),
        (sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "what answers there is no Redis"),
    ],
)
async def test_every_way_to_refuse_a_redis_client_without_tls_is_told(
    answer: Answer, told: str
) -> None:
    async with answering(answer) as port:
        with pytest.raises(RedisDown, match=told):
            await ping(f"redis://localhost:{port}")


@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel"])
@pytest.mark.parametrize(
    "answer", [reset, sends(b""), sends(b"-ERR unknown command\r\n"), sends(b"HTTP/1.1 400 B\r\n")]
)
async def test_a_redis_without_tls_is_named_where_the_url_says_it(
    answer: Answer, scheme: str
) -> None:
    async with answering(answer) as port:
        with pytest.raises(RedisDown, match=SAY_REDIS):
            await ping(f"{scheme}://localhost:{port}/0?ssl_ca_certs={CA_FILE}")


async def test_a_redis_that_waits_for_the_rest_of_a_line_may_be_one_without_tls(
    servers: Servers,
) -> None:
    """A Redis takes the first message of TLS for the beginning of a command."""
    async with tls_in_front_of(urlsplit(servers.redis_url).path, has_tls=False) as port:
        for scheme in ("rediss", "rediss+sentinel"):
            with pytest.raises(RedisDown, match="redis:// for one without"):
                await ping(f"{scheme}://localhost:{port}/0?ssl_ca_certs={CA_FILE}")


async def test_a_redis_that_asks_for_a_certificate_is_told_as_that(servers: Servers) -> None:
    async with tls_in_front_of(urlsplit(servers.redis_url).path, needs_certificate=True) as port:
        with pytest.raises(RedisDown, match="in REDIS_URL: ssl_certfile and ssl_keyfile, if"):
            await ping(f"rediss://localhost:{port}?ssl_ca_certs={CA_FILE}")


async def test_a_refusal_in_words_says_nothing_of_tls() -> None:
    async with answering(sends(b"-DENIED Redis is running in protected mode\r\n")) as port:
        with pytest.raises(RedisDown, match="protected mode") as told:
            await ping(f"redis://localhost:{port}")
    assert "TLS" not in str(told.value)


@pytest.mark.parametrize(
    ("query", "answer", "kind", "told"),
    [
        ("sslmode=require", sends(b"N"), DatabaseUrlRefused, "has no TLS.*sslmode=prefer"),
        ("ssl=true", sends(b"N"), DatabaseUrlRefused, "has no TLS.*sslmode=prefer"),
        ("sslmode=require&sslnegotiation=direct", reset, PostgresDown, "needs PostgreSQL 17"),
        ("sslmode=require&sslnegotiation=direct", sends(b""), PostgresDown, "needs PostgreSQL 17"),
        ("sslmode=require&sslnegotiation=direct", sends(b"N"), PostgresDown, "needs PostgreSQL 17"),
    ],
)
async def test_a_postgres_without_the_tls_that_the_url_asks_for_is_named(
    query: str, answer: Answer, kind: type[PostgresDown], told: str
) -> None:
    async with answering(answer) as port:
        with pytest.raises(kind, match=told):
            async with connect_database(f"postgresql://app@localhost:{port}/app?{query}"):
                pass


NO_ENTRY = b"SFATAL\0C28000\0Mno pg_hba.conf entry for this host, no encryption\0\0"


@pytest.mark.parametrize(
    ("mode", "kind", "is_told"),
    [("disable", DatabaseUrlRefused, True), ("allow", PostgresDown, False)],
)
async def test_a_postgres_that_wants_tls_is_named_where_the_url_forbids_it(
    mode: str, kind: type[PostgresDown], *, is_told: bool
) -> None:
    reply = b"E" + (len(NO_ENTRY) + 4).to_bytes(4, "big") + NO_ENTRY
    async with answering(sends(reply)) as port:
        with pytest.raises(kind) as told:
            async with connect_database(f"postgresql://app@localhost:{port}/app?sslmode={mode}"):
                pass
    assert ("sslmode=disable forbids that" in str(told.value)) is is_told
