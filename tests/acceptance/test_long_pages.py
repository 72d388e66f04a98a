"""Lists of long jobs: a page ends when it is full, and the pages have every job once.

Docs: "A page ends early when it is full", and `fields`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import aiohttp
import pytest

from producer.keys.roles import Role
from producer.list_pages import PAGE_BYTES
from producer.orders.order import Order
from shared.job_json import JOB_FIELDS, job_to_json
from tests.acceptance.test_hostile_callers import api_process
from tests.acceptance.test_hostile_input import check_refused
from tests.acceptance.test_http_access import key_of
from tests.support.api_client import ApiClient
from tests.support.deployment import Deployment, eventually, text_to_image

LONG = "\N{CAMERA}" * 20_000
"""The longest prompt: 80,000 bytes."""
ROOM_FOR_ONE_BYTES = 200_000
PAGE = "/v1/jobs?limit=1000"
UNREAD_MAX_BYTES = 90 * 2**20


async def fill(deployment: Deployment, jobs: int, prompt: str = LONG, **options: Any) -> set[str]:
    """Enqueue jobs of that prompt; return their ids."""
    orders = [
        Order(request=text_to_image(f"{number} {prompt}"[:20_000]), account_id="acme", **options)
        for number in range(jobs)
    ]
    return {str(job.id) for job in await deployment.producer.enqueue_many(orders)}


async def walk(api: ApiClient, path: str, key: str, **query: Any) -> list[list[dict[str, Any]]]:
    """Return every page of a list."""
    pages, cursor = [], None
    while True:
        given = {**query, "cursor": cursor} if cursor else query
        body = (await api.get(path, **given)).expect(200)
        pages.append(body[key])
        cursor = body["next_cursor"]
        if cursor is None:
            return pages


@pytest.mark.promise("A page ends early when it is full", "a page of a list")
async def test_a_page_ends_where_it_is_full_and_no_job_is_lost_or_doubled(
    deployment: Deployment,
) -> None:
    long = await fill(deployment, 60)
    short = await fill(deployment, 60, "short")
    notes = await fill(deployment, 60, "short", metadata={"note": "\x01" * 2_500})
    async with deployment.api() as api:
        queries: list[dict[str, Any]] = [{}, {"account_id": "acme"}, {"state": "queued"}]
        for query in queries:
            pages = await walk(api, "/v1/jobs", "jobs", limit=1000, **query)
            ids = [job["id"] for page in pages for job in page]
            assert sorted(ids, reverse=True) == ids
            assert set(ids) == long | short | notes
            assert len(ids) == 180
            assert len(pages) > 2
            for page in pages:
                assert sum(len(str(job["request"]).encode()) for job in page) <= PAGE_BYTES
        of_ten = await walk(api, "/v1/jobs", "jobs", limit=10)
        assert [len(page) for page in of_ten] == [10] * 18
        async with api.session.get("/v1/jobs?limit=1000") as answer:
            assert len(await answer.read()) <= PAGE_BYTES + ROOM_FOR_ONE_BYTES


async def test_one_job_longer_than_a_page_is_a_page_of_its_own(deployment: Deployment) -> None:
    first, huge, last = [await deployment.enqueue() for _ in range(3)]
    await deployment.run_sql(
        "UPDATE jobs SET message = repeat('x', $2::int) WHERE id = $1", huge.id, 2 * PAGE_BYTES
    )
    async with deployment.api() as api:
        pages = await walk(api, "/v1/jobs", "jobs", limit=1000)
    assert [[job["id"] for job in page] for page in pages] == [
        [str(one.id)] for one in (last, huge, first)
    ]


async def test_a_ledger_of_long_reasons_ends_its_pages_as_well(deployment: Deployment) -> None:
    [before] = await deployment.run_sql("SELECT count(*) FROM audit_entries")
    for number in range(12):
        # A grant has a short reason. Older versions took any.
        await deployment.run_sql(
            "WITH account AS (UPDATE accounts SET balance = balance + 1 RETURNING *)"
            " INSERT INTO ledger_entries (account_id, kind, credits, balance_change, held_change,"
            " balance_after, held_after, reason)"
            " SELECT id, 'grant', 1, 1, 0, balance, held, $1 FROM account WHERE id = 'acme'",
            f"{number} " + "r" * (PAGE_BYTES // 5),
        )
    async with deployment.api() as api:
        pages = await walk(api, "/v1/accounts/acme/ledger", "entries", limit=1000)
        of_audit = await walk(api, "/v1/audit", "entries", limit=1000)
    noted = [entry["id"] for page in of_audit for entry in page]
    assert noted == sorted(set(noted), reverse=True)
    assert len(noted) == before["count"] + 12
    ids = [entry["id"] for page in pages for entry in page]
    assert ids == sorted(set(ids), reverse=True)
    assert len(ids) == 13
    assert len(pages) == 3


@pytest.mark.promise("An unknown field is `422`")
async def test_fields_leave_the_rest_out_and_the_room_they_take(deployment: Deployment) -> None:
    ids = await fill(deployment, 60)
    job_id = next(iter(ids))
    async with deployment.api() as api:
        (page,) = await walk(api, "/v1/jobs", "jobs", limit=1000, fields="id,state")
        assert {job["id"] for job in page} == ids
        assert all(job.keys() == {"id", "state"} for job in page)
        one = (await api.get(f"/v1/jobs/{job_id}", fields="state,id,metadata")).expect(200)
        assert list(one) == ["id", "state", "metadata"]
        whole = (await api.get(f"/v1/jobs/{job_id}")).expect(200)
        assert one == {name: whole[name] for name in one}
        every = (await api.get(f"/v1/jobs/{job_id}", fields=",".join(JOB_FIELDS))).expect(200)
        assert every == whole
        for given in ("promt", "id,", "", "ID", "id,state,request.prompt", "id\u202e"):
            for path in ("/v1/jobs", f"/v1/jobs/{job_id}"):
                (said,) = (await api.get(path, fields=given)).faults().items()
                assert said[0] == "fields"
                assert f"allowed: {', '.join(JOB_FIELDS)}" in said[1]
    assert tuple(job_to_json(await deployment.producer.get(job_id))) == JOB_FIELDS


@pytest.mark.promise("requests and unread answers of a key")
async def test_a_client_that_reads_nothing_costs_little_and_is_refused_further_streams(
    deployment: Deployment,
) -> None:
    """Eight sockets once held 2.2 GB here. These ask for five pages each, and read nothing."""
    await fill(deployment, 300)
    greedy, honest = await key_of(deployment, Role.ADMIN), await key_of(deployment, Role.OPERATOR)
    async with api_process(deployment) as api, aiohttp.ClientSession(api.url) as session:
        caller = ApiClient(session)
        (await caller.with_key(honest).get("/v1/jobs", limit=1000)).expect(200)
        before = api.memory_bytes()
        sockets = [await ask_and_read_nothing(api.url, PAGE, greedy, times=5) for _ in range(24)]
        try:

            async def is_refused() -> bool:
                answer = await caller.with_key(greedy).get("/v1/jobs", limit=1000)
                if answer.status == 200:
                    sockets.append(await ask_and_read_nothing(api.url, PAGE, greedy, times=5))
                    return False
                assert "unread answers" in check_refused(answer, 429)["detail"]
                assert int(answer.headers["Retry-After"]) > 0
                return True

            await eventually(is_refused, "the key has too much unread")
            (await caller.with_key(honest).get("/v1/jobs", limit=1000)).expect(200)
            grown = api.memory_bytes() - before
            assert grown < UNREAD_MAX_BYTES, f"{grown / 2**20:.0f} MiB more"
            sys.stderr.write(f"\n24 sockets that read nothing: {grown / 2**20:+.1f} MiB\n")
        finally:
            for one in sockets:
                one.close()

        async def is_served() -> bool:
            return (await caller.with_key(greedy).get("/v1/jobs", limit=1000)).status == 200

        await eventually(is_served, "what the sockets held is given back")


async def test_a_client_that_reads_nothing_of_a_public_page_costs_little(
    deployment: Deployment,
) -> None:
    """Each of them once held a copy of 1.4 MB."""
    async with api_process(deployment) as api, aiohttp.ClientSession(api.url) as session:
        for path in ("/docs/swagger-ui-bundle.js", "/openapi.json", "/metrics"):
            async with session.get(path) as answer:
                assert answer.status == 200
                await answer.read()
        before = api.memory_bytes()
        sockets = [
            await ask_and_read_nothing(api.url, path, times=4)
            for path in ("/docs/swagger-ui-bundle.js", "/openapi.json", "/metrics")
            for _ in range(70)
        ]
        try:
            async with session.get("/openapi.json") as answer:
                assert len(await answer.read()) > 10_000
            grown = api.memory_bytes() - before
            assert grown < UNREAD_MAX_BYTES / 2, f"{grown / 2**20:.0f} MiB more"
        finally:
            for one in sockets:
                one.close()


async def ask_and_read_nothing(
    url: str, path: str, key: str | None = None, times: int = 1
) -> socket.socket:
    """Ask so many times on one connection, whose window is small."""
    host, _, port = url.removeprefix("http://").partition(":")
    asked = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n"
    asked += f"Authorization: Bearer {key}\r\n\r\n" if key else "\r\n"
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (host, int(port)))
    await loop.sock_sendall(connection, asked.encode() * times)
    return connection
