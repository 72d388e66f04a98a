"""The kinds of hostile connections, each a function that returns its outcome."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

import orjson

from tests.hostile.hostile_connection import connect

_JSON = "Content-Type: application/json"
ANSWER_SECONDS = 15.0
"""The limit for an answer to a complete request, under attack as well."""
HELD_SECONDS = 15.0
HEAD_SECONDS, BODY_TIMEOUT_SECONDS, SLOW_READER_SECONDS = 25.0, 35.0, 75.0
"""The limit for the end of a connection that waits for a head, a body or a reader: the deadlines
in the listeners, and as long again as a busy machine may take."""
HELD, NEVER_ENDED = "open at the end", "never ended"


@cache
def pack_bomb() -> bytes:
    """Return a few kilobytes that unpack to 60 MB, and in part again."""
    return gzip.compress(gzip.compress(b"0" * 20_000_000) + b"0" * 40_000_000)


@dataclass(frozen=True, slots=True)
class Target:
    """The ports that are attacked, and the keys."""

    api_port: int
    worker_port: int
    long_key: str
    """The key of an account with long jobs."""
    poor_key: str
    """The key of an account without credits."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One connection of the attack."""

    target: Target
    number: int
    ends_at: float

    async def exchange(self, port: int, data: bytes) -> str:
        """Send the data, and return the status of the answer, which must come in time."""
        until = asyncio.get_running_loop().time() + ANSWER_SECONDS
        outcome = await self._send(port, data, until)
        return "no answer" if outcome == HELD else outcome

    async def hold(self, port: int, data: bytes, within_seconds: float) -> str:
        """Send incomplete data, and wait for the end of the connection."""
        return await self.ended_within(within_seconds, self._send(port, data, self.ends_at))

    async def ended_within(self, seconds: float, outcome: Coroutine[Any, Any, str]) -> str:
        """Return the outcome. A connection that is open for longer counts as never ended."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        found = await outcome
        return NEVER_ENDED if found == HELD and loop.time() - began > seconds else found

    async def _send(self, port: int, data: bytes, until: float) -> str:
        async with connect(port, self.number, until) as wire:
            sending = asyncio.create_task(wire.send(data))
            try:
                return await wire.outcome()
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    def either(self) -> int:
        """Return the port of the API or of the worker, alternately."""
        return (self.target.api_port, self.target.worker_port)[self.number // 7 % 2]

    def job(self, body: bytes, *headers: str, key: str | None = None) -> bytes:
        """Return an HTTP request for an order, with the key of the account."""
        given = f"Authorization: Bearer {key or self.target.long_key}"
        return request("POST", "/v1/jobs", body, given, *headers)


Kind = Callable[[Attack], Awaitable[str]]


def request(method: str, path: str, body: bytes, *headers: str) -> bytes:
    """Return a request with that body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", _JSON, *headers]
    lines += [f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def order(**fields: object) -> bytes:
    """Return the body of an order, with these additional fields."""
    usual = {"task": "text-to-image", "prompt": "hostile", "aspect_ratio": "1:1"}
    return orjson.dumps({**usual, **fields})


# --- connections that do not go on --------------------------------------------------------------


async def silent(attack: Attack) -> str:
    """Send nothing."""
    return await attack.hold(attack.either(), b"", HEAD_SECONDS)


async def half_head(attack: Attack) -> str:
    """Send a head without its end."""
    return await attack.hold(
        attack.either(), b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX", HEAD_SECONDS
    )


async def half_body(attack: Attack) -> str:
    """Send the body of an order or of a callback without its end."""
    if attack.either() == attack.target.api_port:
        return await attack.hold(
            attack.target.api_port, attack.job(order())[:-5], BODY_TIMEOUT_SECONDS
        )
    text = request("POST", f"/callbacks/kie/{uuid4().hex}", callback("t"))
    return await attack.hold(attack.target.worker_port, text[:-5], BODY_TIMEOUT_SECONDS)


async def slow_writer(attack: Attack) -> str:
    """Send the head or the body byte by byte."""
    text = attack.job(order())
    head = text.index(b"\r\n\r\n") + 4 if attack.number % 2 else 0

    async def write() -> str:
        async with connect(attack.target.api_port, attack.number, attack.ends_at) as wire:
            await wire.send(text[:head])
            await wire.drip(text[head:], 0.5)
            return await wire.outcome()

    return await attack.ended_within(BODY_TIMEOUT_SECONDS, write())


async def slow_reader(attack: Attack) -> str:
    """Request a long list of long jobs, and read nothing."""
    path = "/v1/jobs?limit=1000"
    text = request("GET", path, b"", f"Authorization: Bearer {attack.target.long_key}")
    async with connect(
        attack.target.api_port, attack.number, attack.ends_at, buffer_bytes=4096
    ) as wire:
        await wire.send(text)
        return await attack.ended_within(SLOW_READER_SECONDS, wire.until_closed())


async def idle(attack: Attack) -> str:
    """Send one request, and then keep the connection idle."""
    async with connect(attack.either(), attack.number, attack.ends_at) as wire:
        await wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answered = await wire.outcome()
        left_seconds = attack.ends_at - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, min(HELD_SECONDS, left_seconds)))
        return answered


# --- bodies that cost ---------------------------------------------------------------------------


async def gzip_bomb(attack: Attack) -> str:
    """Send a small body that unpacks to a large one, without a key and with one."""
    encoding = "Content-Encoding: gzip"
    if attack.number % 3 == 0:
        text = request("POST", f"/callbacks/kie/{uuid4().hex}", pack_bomb(), encoding)
        return await attack.exchange(attack.target.worker_port, text)
    if attack.number % 3 == 1:
        return await attack.exchange(attack.target.api_port, attack.job(pack_bomb(), encoding))
    body, encoding = zlib.compress(b"0" * 3_000_000), "Content-Encoding: deflate"
    return await attack.exchange(
        attack.target.api_port, request("POST", "/v1/jobs/batch", body, encoding)
    )


async def number_bomb(attack: Attack) -> str:
    """Send metadata that becomes hundreds of times longer when it is stored."""
    numbers = (b"1e308", b"1e-308", b"-1.7e308", b"4.9e-324")[attack.number % 4]
    notes = b"[" + b",".join([numbers] * (13_000 // (len(numbers) + 1))) + b"]"
    body = order(metadata={"n": 0}).replace(b'{"n":0}', b'{"n":' + notes + b"}")
    return await attack.exchange(attack.target.api_port, attack.job(body))


async def deep_json(attack: Attack) -> str:
    """Send JSON that is nested very deep, or just too deep."""
    depth = (120, 253, 1_000, 100_000)[attack.number % 4]
    body = b'{"task":"text-to-image","metadata":{"a":' + b"[" * depth + b"]" * depth + b"}}"
    return await attack.exchange(attack.target.api_port, attack.job(body))


async def wide_json(attack: Attack) -> str:
    """Send an object with thousands of names, or a batch with thousands of faults."""
    if attack.number % 2:
        body = orjson.dumps({"jobs": [{f"n{n}": n for n in range(20)} for _ in range(900)]})
        given = f"Authorization: Bearer {attack.target.long_key}"
        text = request("POST", "/v1/jobs/batch", body, given)
        return await attack.exchange(attack.target.api_port, text)
    names: dict[str, object] = {f"name{n}": n for n in range(10_000)}
    return await attack.exchange(attack.target.api_port, attack.job(order(**names)))


async def unkeyed_body(attack: Attack) -> str:
    """Send three megabytes without a key."""
    return await attack.exchange(
        attack.target.api_port, request("POST", "/v1/jobs/batch", b" " * 3_000_000)
    )


async def no_http(attack: Attack) -> str:
    """Send data that is not HTTP, such as the first bytes of TLS."""
    data = (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 5_000, b"\r\n" * 3_000)
    return await attack.exchange(attack.either(), data[attack.number % 3] + b"\r\n\r\n")


# --- what is not theirs -------------------------------------------------------------------------


def callback(task_id: str, filling: int = 0) -> bytes:
    """Return the body of a callback about that task."""
    return orjson.dumps({"code": 200, "data": {"taskId": task_id, "info": "x" * filling}})


async def forged_callback(attack: Attack) -> str:
    """Send callbacks with an unknown token, a damaged token, and a long body."""
    token = (uuid4().hex, "%00", "%ff", "..%2f..", "a" * 3_000, "%F0%9F%AF%B0")[attack.number % 6]
    body = callback(uuid4().hex, filling=(0, 30_000)[attack.number // 6 % 2])
    text = request("POST", f"/callbacks/kie/{token}", body)
    return await attack.exchange(attack.target.worker_port, text)


async def wrong_key(attack: Attack) -> str:
    """Send a request with an unknown key."""
    given = f"Authorization: Bearer dk_{uuid4().hex}"
    return await attack.exchange(attack.target.api_port, request("GET", "/v1/jobs", b"", given))


async def unpaid_order(attack: Attack) -> str:
    """Order without credits."""
    text = attack.job(order(), key=attack.target.poor_key)
    return await attack.exchange(attack.target.api_port, text)


KINDS: dict[Kind, int] = {
    silent: 30,
    half_head: 12,
    half_body: 12,
    slow_writer: 6,
    idle: 6,
    slow_reader: 1,
    gzip_bomb: 8,
    number_bomb: 4,
    deep_json: 4,
    wide_json: 1,
    unkeyed_body: 2,
    no_http: 4,
    forged_callback: 8,
    wrong_key: 4,
    unpaid_order: 2,
}
"""The kinds, and their number in a hundred connections."""
EXPECTED = {
    silent: {HELD},
    half_head: {HELD},
    half_body: {HELD, "408"},
    slow_writer: {HELD, "408"},
    slow_reader: {HELD},
    idle: {"200", HELD},
    gzip_bomb: {"415"},
    number_bomb: {"422"},
    deep_json: {"400", "422"},
    wide_json: {"422"},
    unkeyed_body: {"401"},
    no_http: {"400"},
    forged_callback: {"404", "400"},
    wrong_key: {"401"},
    unpaid_order: {"402"},
}
"""The allowed outcomes of each kind. `HELD`: open until the attack was over, if the connection
began too late to be ended."""
ALWAYS_ALLOWED = frozenset({"closed", "429", "503", "not connected"})
"""Allowed for every kind, if there are too many connections or the machine is overloaded."""
