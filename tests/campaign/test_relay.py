"""The campaign's relay: delays, losses and cuts of connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from tests.support.tcp_relay import LinkFault, TcpRelay, relay_to


@asynccontextmanager
async def echo_behind_a_relay(folder: Path) -> AsyncIterator[tuple[TcpRelay, list[bytes]]]:
    """Run a server that answers in capitals. Yields the relay before it and what it received."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1_000):
            heard.append(data)
            writer.write(data.upper())
        writer.close()

    path = str(folder / "s")
    server = await asyncio.start_unix_server(answer, path)
    async with server, relay_to(path, Random(1)) as relay:
        yield relay, heard


async def ask(relay: TcpRelay, words: bytes, timeout_seconds: float = 0.5) -> bytes:
    """Ask over a new connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    try:
        writer.write(words)
        async with asyncio.timeout(timeout_seconds):
            return await reader.readexactly(len(words))
    finally:
        writer.transport.abort()


async def test_an_open_relay_passes_everything_on(tmp_path: Path) -> None:
    async with echo_behind_a_relay(tmp_path) as (relay, _):
        assert await ask(relay, b"hello") == b"HELLO"


async def test_a_slow_link_is_split_and_loses_nothing(tmp_path: Path) -> None:
    words = b"many small pieces " * 60
    async with echo_behind_a_relay(tmp_path) as (relay, heard):
        relay.trouble = LinkFault.SLOW
        assert await ask(relay, words, timeout_seconds=10.0) == words.upper()
        assert len(heard) > 1


async def test_a_lost_request_never_arrives(tmp_path: Path) -> None:
    async with echo_behind_a_relay(tmp_path) as (relay, heard):
        relay.trouble = LinkFault.REQUESTS_LOST
        with pytest.raises(TimeoutError):
            await ask(relay, b"hello")
        assert heard == []
        relay.trouble = None
        assert await ask(relay, b"again") == b"AGAIN"


async def test_a_lost_reply_was_to_something_that_was_done(tmp_path: Path) -> None:
    async with echo_behind_a_relay(tmp_path) as (relay, heard):
        relay.trouble = LinkFault.REPLIES_LOST
        with pytest.raises(TimeoutError):
            await ask(relay, b"hello")
        assert heard == [b"hello"]


async def test_a_connection_that_has_lost_data_forwards_nothing_more(tmp_path: Path) -> None:
    async with echo_behind_a_relay(tmp_path) as (relay, heard):
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        relay.trouble = LinkFault.REPLIES_LOST
        writer.write(b"one")
        async with asyncio.timeout(2):
            while not heard:
                await asyncio.sleep(0.01)
        relay.trouble = None
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.read(10)
        writer.transport.abort()


async def test_a_cut_relay_refuses_and_can_be_restored(tmp_path: Path) -> None:
    async with echo_behind_a_relay(tmp_path) as (relay, _):
        await relay.cut()
        with pytest.raises(ConnectionError):
            await ask(relay, b"hello")
        await relay.restore()
        assert await ask(relay, b"hello") == b"HELLO"


async def test_frozen_links_stay_silent_for_good_and_new_ones_pass(tmp_path: Path) -> None:
    async with echo_behind_a_relay(tmp_path) as (relay, heard):
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"ONE"
        relay.freeze()
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.read(10)
        assert heard == [b"one"]
        assert not reader.at_eof()
        assert await ask(relay, b"new") == b"NEW"
        writer.transport.abort()
