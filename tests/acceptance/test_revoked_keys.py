"""Streams and waits end within a second of the revocation of their key.

"`darkroom keys revoke` ends one within a second", and what it has open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import aiohttp
import pytest
from structlog.testing import capture_logs

from producer.keys.key_store import KeyStore
from producer.keys.revocation_watch import CHECK_SECONDS
from producer.keys.roles import Role
from tests.acceptance.test_hostile_input import check_refused
from tests.acceptance.test_http_access import key_of
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, eventually

SECONDS_MAX = 1.0 + CHECK_SECONDS
"""A busy machine is given half a second more."""


@asynccontextmanager
async def streaming(api: ApiClient, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """Open a stream and read its greeting."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with api.session.get(path, headers=api._headers, timeout=timeout) as response:
        assert response.status == 200
        await response.content.readline()
        yield response


@pytest.mark.promise("and with it the waits and streams that it has open")
async def test_streams_and_waits_end_with_their_key_and_no_others(deployment: Deployment) -> None:
    job = await deployment.enqueue()
    mine = await key_of(deployment, Role.SERVICE, "acme")
    other = await key_of(deployment, Role.SERVICE, "acme")
    async with deployment.api() as nobody:
        api, neighbour = nobody.with_key(mine), nobody.with_key(other)
        waiting = asyncio.create_task(api.get(f"/v1/jobs/{job.id}", wait=60))
        theirs = asyncio.create_task(neighbour.get(f"/v1/jobs/{job.id}", wait=60))
        async with (
            streaming(api, f"/v1/jobs/{job.id}/events") as of_job,
            streaming(api, "/v1/accounts/acme/events") as of_account,
            streaming(neighbour, "/v1/accounts/acme/events") as kept,
        ):
            await KeyStore(deployment.database).revoke(mine)
            revoked_at = monotonic()
            await of_job.content.read()
            await of_account.content.read()
            refused = await waiting
            took_seconds = monotonic() - revoked_at
            assert "revoked" in check_refused(refused, 401)["detail"]
            assert took_seconds < SECONDS_MAX
            # The streams of another key stay open and still receive events.
            assert not theirs.done()
            await deployment.producer.cancel(job.id)
            assert (await theirs).expect(200)["state"] == "cancelled"
            async with asyncio.timeout(10):
                while b"event: cancelled" not in await kept.content.readline():
                    pass


async def test_what_was_opened_without_a_key_ends_with_the_first_key(
    deployment: Deployment,
) -> None:
    job = await deployment.enqueue()
    async with deployment.api() as api:
        waiting = asyncio.create_task(api.get(f"/v1/jobs/{job.id}", wait=60))
        async with streaming(api, f"/v1/jobs/{job.id}/events") as stream:
            await key_of(deployment, Role.ADMIN)
            made_at = monotonic()
            await stream.content.read()
            check_refused(await waiting, 401)
            assert monotonic() - made_at < SECONDS_MAX


async def test_an_outage_of_postgres_ends_nothing(deployment: Deployment) -> None:
    """An outage is no proof that a key was revoked, so its streams stay open."""
    key = await key_of(deployment, Role.ADMIN)
    job = await deployment.enqueue()
    async with deployment.api() as nobody:
        api = nobody.with_key(key)
        async with streaming(api, f"/v1/jobs/{job.id}/events") as stream:
            await deployment.run_sql("ALTER TABLE api_keys RENAME TO api_keys_away")
            with capture_logs() as lines:

                async def was_asked() -> bool:
                    return any(line.get("doing") == "check_open_keys" for line in lines)

                await eventually(was_asked, "the keys were asked for in vain")
            await deployment.run_sql("ALTER TABLE api_keys_away RENAME TO api_keys")
            await deployment.producer.cancel(job.id)
            async with asyncio.timeout(10):
                said = await stream.content.read()
            assert b"event: cancelled" in said
