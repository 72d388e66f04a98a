"""`darkroom queue lost-writes | acknowledge`, and the same over HTTP."""

from __future__ import annotations

import asyncio
import getpass
import os
import pty
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from shared.adapters.redis.lost_write_log import EventPosition, LostJob, LostWriteLog
from shared.redis_keys import WIPED_KEY
from tests.acceptance.cli.cli_program import WAIT_SECONDS, Darkroom
from tests.support.deployment import Deployment

ROOT = Path(__file__).parents[3]
READ = ("queue", "lost-writes")
LOST = ("queue", "acknowledge", "writes_lost")
WIPED = ("queue", "acknowledge", "redis_was_wiped")
PATH = "/v1/alerts/acknowledge"


@pytest.fixture
async def log(redis: ArqRedis) -> LostWriteLog:
    """Evidence of a job and of an event."""
    log = LostWriteLog(redis)
    await log.add_jobs([LostJob("job-1", "t1", "default")])
    await log.add_missing_event(EventPosition(7, "2026-11-28 17:30:00+00"), None)
    return log


@asynccontextmanager
async def asked(darkroom: Darkroom, *words: str) -> AsyncIterator[Callable[[str], Awaitable[int]]]:
    """Run a command until it asks on its terminal. Yields how it is answered, for its code."""
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producer", *words),
        env=darkroom.environ,
        cwd=ROOT,
        stdin=slave,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None

    async def answer(text: str) -> int:
        os.write(master, f"{text}\n".encode())
        async with asyncio.timeout(WAIT_SECONDS):
            await process.communicate()
        return process.returncode or 0

    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await process.stdout.readuntil(b"Is this intended?")
        yield answer
    finally:
        if process.returncode is None:
            process.kill()
        os.close(slave)
        os.close(master)


async def test_lost_writes_are_shown_asked_about_and_acknowledged(
    darkroom: Darkroom, deployment: Deployment, log: LostWriteLog, redis: ArqRedis
) -> None:
    await redis.set(WIPED_KEY, 1_700_000_000_000, ex=60)
    shown, read, refused, wrong, wiped = await darkroom.run_all(
        READ, (*READ, "--json"), LOST, ("queue", "acknowledge", "jobs_fail"), (*WIPED, "--json")
    )
    for word in ("job-1", "t1", "default", "event 7 of 2026-11-28 17:30:00+00 is gone"):
        assert word in shown.out
    async with deployment.api() as api:
        assert (await api.get("/v1/lost-writes")).expect(200) == read.object
    assert (refused.code, wrong.code) == (1, 2)
    assert "the evidence of 1 job and 1 event that Postgres has lost; nothing" in refused.err
    assert "redis_was_wiped" in wrong.err
    assert (wiped.object["name"], wiped.object["acknowledged"]) == ("redis_was_wiped", 1)
    assert await log.count() == 2
    async with asked(darkroom, *LOST) as answer:
        # What is stored while the question stands was not seen.
        await log.add_jobs([LostJob("job-2", None, None)])
        assert await answer("y") == 0
    assert [one.job_id for one in (await log.read()).jobs] == ["job-2"]
    confirmed = await darkroom.run(*LOST, "--yes")
    assert confirmed.out == "acknowledged: writes_lost (1 piece of evidence deleted)\n"
    nothing, none = await darkroom.run_all((*LOST,), (*READ,))
    assert (nothing.code, none.code, none.out) == (0, 0, "")
    assert "there was nothing to acknowledge" in nothing.err
    noted = await deployment.producer.billing.audit(act="alert_acknowledged")
    assert [(one["actor"], one["via"]) for one in noted] == [(getpass.getuser(), "cli")] * 3


async def test_an_alert_is_acknowledged_over_http_and_no_other_name_is_taken(
    deployment: Deployment, log: LostWriteLog
) -> None:
    async with deployment.api() as api:
        for name in ("jobs_fail", "", None, 1, "x\0"):
            assert set((await api.post(PATH, {"name": name})).faults()) == {"name"}
        assert "redis_was_wiped" in (await api.post(PATH, {"name": "x"})).faults()["name"]
        assert set((await api.post(PATH, {})).faults()) == {"name"}
        assert await log.count() == 2
        lost = (await api.get("/v1/lost-writes")).expect(200)
        done = (await api.post(PATH, {"name": "writes_lost"})).expect(200)
        again = (await api.post(PATH, {"name": "writes_lost"})).expect(200)
    assert done == {"name": "writes_lost", "acknowledged": 2, "left": 0, "lost_writes": lost}
    assert (again["acknowledged"], again["lost_writes"]["jobs"]) == (0, [])
