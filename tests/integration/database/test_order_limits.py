"""The database keeps the limits of an order that our programs check, whoever places it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from string import ascii_letters
from typing import Any
from uuid import uuid4

import pytest

from producer.orders.field_limits import RUN_AT_DAYS
from shared.errors import InvalidRequest
from shared.text_and_url_checks import URL_LENGTH_MAX
from tests.integration.database.database_setup import DatabaseSetup

ONE = """
    SELECT id FROM darkroom_enqueue_job(
        gen_random_uuid(), 'acme', 'gpt-4o-image', 'text-to-image', 1, '{"prompt": "a boat"}', NULL,
        '{}', $1, 'normal', $2, NULL)"""
SEVERAL = """
    SELECT id FROM darkroom_enqueue_jobs(
        ARRAY[gen_random_uuid(), gen_random_uuid()], '{acme,acme}', '{gpt-4o-image,gpt-4o-image}',
        '{text-to-image,text-to-image}', '{1,1}', ARRAY['{"prompt": "a"}', '{"prompt": "b"}'],
        '{NULL,NULL}', '{"{}","{}"}', ARRAY[NULL, $1::text], '{normal,normal}',
        ARRAY[now(), ($2)::timestamptz], '{NULL,NULL}')"""
TOO_LATE = (
    f"now() + interval '{RUN_AT_DAYS} days 1 minute'",
    "timestamptz '9999-01-01'",
    "timestamptz 'infinity'",
)
HOOK = "https://hooks.example/"


def incompressible(length: int) -> str:
    """Return a path of this length that Postgres cannot shorten."""
    chosen = Random(7)
    return "".join(chosen.choices(ascii_letters, k=length))


@pytest.mark.parametrize("statement", [ONE, SEVERAL], ids=["one", "several"])
async def test_an_order_by_sql_is_scheduled_366_days_ahead_at_most(
    setup: DatabaseSetup, statement: str
) -> None:
    for moment in TOO_LATE:
        asked = statement.replace("$2", moment)
        refused = await setup.refuses(asked, None)
        assert "must be at most 366 days from now" in str(refused)
    near = statement.replace("$2", f"now() + interval '{RUN_AT_DAYS} days'")
    assert await setup.sql(near, None)


@pytest.mark.parametrize("statement", [ONE, SEVERAL], ids=["one", "several"])
async def test_an_order_by_sql_has_a_webhook_url_of_bounded_length(
    setup: DatabaseSetup, statement: str
) -> None:
    asked = statement.replace("$2", "now()")
    refused = await setup.refuses(asked, HOOK.ljust(URL_LENGTH_MAX + 1, "a"))
    assert str(refused) == "webhook_url is 8193 characters long; at most 8192 are allowed"
    assert await setup.sql(asked, HOOK.ljust(URL_LENGTH_MAX, "a"))


async def test_a_clock_ahead_of_postgres_gets_the_fault_of_the_field(setup: DatabaseSetup) -> None:
    order: Any = {"run_at": datetime.now(UTC) + timedelta(days=RUN_AT_DAYS - 1)}
    job = await setup.enqueue(**order)
    assert job.run_at == order["run_at"]
    await setup.sql(
        "CREATE OR REPLACE TRIGGER jobs_order_is_bounded BEFORE INSERT ON jobs FOR EACH ROW"
        " WHEN (NEW.run_at > now() + interval '364 days') EXECUTE FUNCTION darkroom_refuse_order()"
    )
    with pytest.raises(InvalidRequest) as refused:
        await setup.enqueue(**order)
    assert [fault.field for fault in refused.value.faults] == ["run_at"]


async def test_the_longest_webhook_urls_have_endpoints_and_messages_of_their_own(
    setup: DatabaseSetup,
) -> None:
    """Their paths do not fit into a row of an index, and differ in the last character."""
    account = "é" * 200
    await setup.open_account(account)
    path = HOOK + incompressible(URL_LENGTH_MAX - len(HOOK) - 1)
    urls = [path + end for end in "xyx"]
    for url in urls:
        job = await setup.enqueue(account_id=account, webhook_url=url)
        await setup.book.cancel(job.id)
    rows = await setup.sql(
        "SELECT endpoint.url, count(message.id) AS told FROM webhook_endpoints AS endpoint"
        " JOIN webhook_messages AS message ON message.endpoint_id = endpoint.id"
        " AND message.url = endpoint.url GROUP BY endpoint.id ORDER BY endpoint.url"
    )
    assert [(row["url"], row["told"]) for row in rows] == [(path + "x", 2), (path + "y", 1)]
    assert await setup.broken_invariants() == {}


async def test_an_endpoint_is_made_and_its_secret_changed_by_a_long_url(
    setup: DatabaseSetup,
) -> None:
    url = HOOK + incompressible(8_000) + "?query=" + uuid4().hex
    made = [
        await setup.value("SELECT darkroom_create_webhook_endpoint('acme', $1)", url)
        for _ in range(2)
    ]
    assert made[0] == made[1]
    before = await setup.value("SELECT secret FROM webhook_endpoints")
    (row,) = await setup.sql("SELECT * FROM darkroom_rotate_webhook_secret('acme', $1, 60)", url)
    assert row["id"] == made[0]
    assert row["previous_secret"] == before != row["secret"]
