"""What uploads cost the API: memory for one of 25 MiB, and the time of other requests beside 20.

`python -m bench.uploads [--seconds 20] [--megabit 40]`. The API, Kie's upload host and the senders
are processes of their own. First uploads of 25 MiB one after the other: by how much the most memory
that the API ever had (VmHWM) grows. Then 20 posts of a job a second, at fixed moments, alone and
beside 20 uploads of 25 MiB at once, each at so many megabits a second, again and again. The upload
host takes every byte and stores none.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import platform
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from bench.api_cost import ACCOUNTS, api_process, open_accounts
from shared.adapters.servers import open_servers
from shared.settings import Settings
from tests.support.percentiles import percentile

FILE_BYTES = 25 * 1024 * 1024
AT_ONCE = 20
POSTS_PER_SECOND = 20
_PART_BYTES = 64 * 1024
_PATH = f"/v1/files?account_id={ACCOUNTS[0]}"
_START_SECONDS = 20.0


async def main(seconds: int, megabit: float) -> None:
    """Measure and print."""
    machine = f"{platform.platform()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    print(f"machine: {machine}")
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = await stack.enter_async_context(open_servers(Settings(darkroom_home=home)))
        await open_accounts(servers)
        host = await stack.enter_async_context(_program("--host"))
        environ = {
            **os.environ,
            "DARKROOM_HOME": str(home),
            "KIE_UPLOAD_URL": host,
            "KIE_UPLOAD_KEY": "bench",
        }
        api, url = await stack.enter_async_context(api_process(environ))
        assert api.stderr is not None
        reading = asyncio.create_task(api.stderr.read())
        stack.callback(reading.cancel)
        session = await stack.enter_async_context(aiohttp.ClientSession(url))
        await _measure_memory(session, api.pid)
        await _measure_posts(session, seconds, "alone")
        async with _program("--send", url, str(megabit)):
            await asyncio.sleep(2)
            await _measure_posts(
                session, seconds, f"beside {AT_ONCE} uploads at {megabit:g} Mbit/s each"
            )
            print(f"  memory of the API at most: {_memory_kib(api.pid, 'VmHWM') / 1024:.1f} MiB")


async def _measure_memory(session: aiohttp.ClientSession, pid: int) -> None:
    for number in range(3):
        await _upload(session, number, megabit=0)
    for number in range(3, 8):
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the most memory begins anew
        before = _memory_kib(pid, "VmRSS")
        began = time.monotonic()
        await _upload(session, number, megabit=0)
        took = time.monotonic() - began
        grown = _memory_kib(pid, "VmHWM") - before
        print(f"one upload of 25 MiB: {grown / 1024:.2f} MiB of memory more, {took:.2f} s")


async def _measure_posts(session: aiohttp.ClientSession, seconds: int, name: str) -> None:
    began = time.monotonic()
    tasks = []
    for number in range(seconds * POSTS_PER_SECOND):
        await asyncio.sleep(max(began + number / POSTS_PER_SECOND - time.monotonic(), 0))
        tasks.append(asyncio.create_task(_post(session, number)))
    taken = await asyncio.gather(*tasks)
    print(
        f"{len(taken)} posts of a job, {name}: p50 {1e3 * percentile(taken, 50):.1f} ms,"
        f" p99 {1e3 * percentile(taken, 99):.1f} ms, longest {1e3 * max(taken):.1f} ms"
    )


async def _post(session: aiohttp.ClientSession, number: int) -> float:
    account = ACCOUNTS[number % len(ACCOUNTS)]
    body = {"account_id": account, "task": "text-to-image", "prompt": "a", "aspect_ratio": "1:1"}
    began = time.monotonic()
    async with session.post("/v1/jobs", json=body) as answer:
        await answer.read()
        assert answer.status == 202, answer.status
    return time.monotonic() - began


async def _upload(session: aiohttp.ClientSession, number: int, *, megabit: float) -> None:
    parts = _paced_png(number, megabit)
    async with session.post(_PATH, data=parts) as answer:
        file = await answer.json()
        assert answer.status == 201, file
        assert file["bytes"] == FILE_BYTES, file


async def _paced_png(number: int, megabit: float) -> AsyncIterator[bytes]:
    """Yield a PNG of 25 MiB, another for each number, at most so fast. 0 means without a limit."""
    chunk = hashlib.sha256(str(number).encode()).digest() * (_PART_BYTES // 32)
    head = b"IHDR" + struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head
    start += struct.pack(">I", zlib.crc32(head))
    end = bytes(4) + b"\0\0\0\0IEND\xaeB\x60\x82"
    size = FILE_BYTES - len(start) - 8 - len(end)
    yield start + struct.pack(">I", size) + b"IDAT"
    began, sent = time.monotonic(), 0
    while sent < size:
        part = chunk[: size - sent]
        sent += len(part)
        yield part
        if megabit:
            due = began + sent * 8 / (megabit * 1e6)
            await asyncio.sleep(max(due - time.monotonic(), 0))
    yield end


def _memory_kib(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


# --- the other processes --------------------------------------------------------------------


@asynccontextmanager
async def _program(*arguments: str) -> AsyncIterator[str]:
    """Run this file with these arguments during the block. Yields its first line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.uploads", *arguments),
        stdout=asyncio.subprocess.PIPE,
        # Both end while uploads are in progress.
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_SECONDS):
            line = await process.stdout.readline()
        yield line.decode().strip()
    finally:
        process.terminate()
        await process.communicate()


async def _run_host() -> None:
    """Take every upload, store none, and answer like Kie. Prints its URL."""
    numbers = iter(range(1 << 60))

    async def take(request: web.Request) -> web.Response:
        async for _ in request.content.iter_any():
            pass
        url = f"https://tempfile.redpandaai.co/{next(numbers)}.png"
        answer = {"success": True, "code": 200, "msg": "", "data": {"downloadUrl": url}}
        return web.json_response(answer)

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


async def _send(url: str, megabit: float) -> None:
    """Upload 20 files at once, again and again."""
    print("sending", flush=True)

    async def repeat(session: aiohttp.ClientSession, first: int) -> None:
        for number in range(first, 1 << 60, AT_ONCE):
            await _upload(session, number, megabit=megabit)

    async with aiohttp.ClientSession(url) as session, asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(repeat(session, 1_000 + number))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="how long jobs are posted")
    parser.add_argument("--megabit", type=float, default=40, help="per second of each upload")
    parser.add_argument("--host", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--send", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.host:
        asyncio.run(_run_host())
    elif options.send:
        asyncio.run(_send(options.send[0], float(options.send[1])))
    else:
        asyncio.run(main(options.seconds, options.megabit))
