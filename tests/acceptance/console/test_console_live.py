"""The stream that tells pages of changes: who hears it, and when it ends."""

from __future__ import annotations

import asyncio

import orjson

from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.acceptance.test_http_access import key_of
from tests.support.console_client import browsing
from tests.support.deployment import Deployment

_SECONDS = 10


async def test_a_change_is_told_within_seconds_and_a_revoked_key_hears_no_more(
    deployment: Deployment,
) -> None:
    key = await key_of(deployment, Role.VIEWER)
    async with deployment.api() as api, browsing(api, key) as browser:
        async with browser.session.get("/console/changes") as stream:
            assert stream.status == 200
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            assert await stream.content.readline() == b"retry: 2000\n"
            job = await deployment.enqueue()
            async with asyncio.timeout(_SECONDS):
                line = b""
                while not line.startswith(b"data: ") or str(job.id).encode() not in line:
                    line = await stream.content.readline()
                    assert line, "the stream goes on"
            assert set(orjson.loads(line.removeprefix(b"data: "))) == {"jobs", "more"}
            await KeyStore(deployment.database).revoke(key)
            async with asyncio.timeout(_SECONDS):
                while await stream.content.readline():
                    pass
        answer = await browser.get("/console/changes", Accept="text/event-stream")
        answer.expect(401)
