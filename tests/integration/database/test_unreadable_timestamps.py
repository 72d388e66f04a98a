"""A time that Python's calendar does not have does not prevent other rows from being shown."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from arq.connections import ArqRedis

from producer.cli.command_runner import open_command_context
from producer.cli.display.tables.job_tables import build_jobs_table, job_details_view
from producer.cli.display.tables.queue_tables import queue_overview_view
from producer.doctor import examine
from producer.orders.order import Order
from shared.adapters.monitoring.alert_monitor import AlertMonitor
from shared.adapters.postgres.session_setup import EARLIEST_TIMESTAMP, LATEST_TIMESTAMP
from shared.errors import DatabaseRefused
from shared.job_json import credits_to_json
from tests.support.deployment import Deployment, text_to_image
from worker.store.job_store import JobStore

HOOK = "https://shop.example/hook"
TIMES = {
    "the year 20000": ("20000-01-01", LATEST_TIMESTAMP),
    "before Christ": ("0044-03-15 BC", EARLIEST_TIMESTAMP),
    "the last one": ("294276-12-31", LATEST_TIMESTAMP),
    "for ever": ("infinity", LATEST_TIMESTAMP),
}


async def spoil(deployment: Deployment, table: str, columns: str, time: str, where: str) -> None:
    """Write the time into these columns without triggers, as in a restored dump."""
    changes = ", ".join(f"{column} = '{time}'" for column in columns.split())
    await deployment.run_sql(
        f"DO $$ BEGIN SET LOCAL session_replication_role = replica;"
        f" UPDATE {table} SET {changes} WHERE {where}; END $$"
    )


@pytest.mark.parametrize(("time", "shown"), TIMES.values(), ids=TIMES.keys())
async def test_every_list_shows_all_rows_beside_one_with_such_a_time(
    deployment: Deployment, time: str, shown: datetime
) -> None:
    producer = deployment.producer
    jobs = await producer.enqueue_many(
        [
            Order(request=text_to_image(f"{time} {n}"), account_id="acme", webhook_url=HOOK)
            for n in range(3)
        ]
    )
    bad = jobs[1].id
    await producer.cancel(bad)
    await deployment.run_sql(
        "INSERT INTO job_attempts (job_id, number, token, worker)"
        " VALUES ($1, 1, repeat('t', 24), 'here:1')",
        bad,
    )
    for table, columns, where in (
        ("jobs", "run_at due_at created_at submitted_at", f"id = '{bad}'"),
        ("job_events", "at", f"job_id = '{bad}'"),
        ("job_attempts", "sent_at", f"job_id = '{bad}'"),
        ("ledger_entries", "created_at", f"job_id = '{bad}'"),
        ("webhook_messages", "created_at next_try_at", f"job_id = '{bad}'"),
    ):
        await spoil(deployment, table, columns, time, where)

    listed = await producer.list(account_id="acme")
    assert {job.id for job in jobs} <= {job.id for job in listed}
    assert (await producer.get(bad)).run_at == shown
    story = await producer.job_details(bad)
    assert [one["at"] for one in story["events"]] == [shown, shown]
    assert [one["sent_at"] for one in story["attempts"]] == [shown]
    assert [one["created_at"] for one in story["entries"]] == [shown, shown]
    assert len(await producer.billing.ledger("acme", None, 100)) > 4
    (message,) = await producer.webhooks.list(account_id="acme")
    assert message["created_at"] == shown
    job_details_view(await producer.get(bad), story, now=datetime.now(UTC))
    build_jobs_table(listed, now=datetime.now(UTC))
    async with deployment.api() as client:
        told = (await client.get("/v1/jobs", account_id="acme")).expect(200)["jobs"]
        assert str(bad) in {job["id"] for job in told}
        one = (await client.get(f"/v1/jobs/{bad}")).expect(200)
        assert one["run_at"].startswith(f"{shown:%Y-%m-%d}".rjust(10, "0"))
        (await client.get("/v1/accounts/acme/ledger")).expect(200)
    async with open_command_context(deployment.settings) as setup:
        queue_overview_view(await setup.producer.overview(), setup.servers.database_place)
    findings = [one async for one in examine(deployment.settings)]
    assert "no job is stuck" in {one.name for one in findings}, "the doctor sees all it looks at"


async def test_decisions_do_not_confuse_such_a_time_with_another(deployment: Deployment) -> None:
    """A worker cannot read it, and fails only that job."""
    jobs = await deployment.producer.enqueue_many(
        [Order(request=text_to_image(f"picture {n}"), account_id="acme") for n in range(20)]
    )
    await spoil(deployment, "jobs", "due_at", "0044-03-15 BC", f"id = '{jobs[7].id}'")
    store = JobStore(deployment.database)
    loads = (store.load(job.id) for job in jobs)
    outcomes = await asyncio.gather(*loads, return_exceptions=True)
    failed = [place for place, one in enumerate(outcomes) if isinstance(one, Exception)]
    assert failed == [7]


@pytest.mark.parametrize(
    ("state", "column", "time"),
    [
        ("queued", "created_at", "0044-03-15 BC"),
        ("unknown", "attempted_at", "20000-01-01"),
        ("generating", "submitted_at", "20000-01-01"),
    ],
)
async def test_a_worker_keeps_checking_for_alerts(
    deployment: Deployment, redis: ArqRedis, state: str, column: str, time: str
) -> None:
    """The worker does not know these alerts. The doctor reads every time, and does."""
    job = await deployment.enqueue()
    changes = (
        f"state = '{state}', attempt = 1, run_at = '0044-03-15 BC', provider_task_id = 'task-1',"
        f" submitted_at = now(), deadline_at = now(), {column} = '{time}'"
    ).replace(f"{column} = now(), ", "")
    await deployment.run_sql(
        "DO $$ BEGIN SET LOCAL session_replication_role = replica;"
        f" UPDATE jobs SET {changes} WHERE id = '{job.id}'; END $$"
    )
    with pytest.raises(DatabaseRefused, match="cannot be read"):
        await AlertMonitor(deployment.database, redis, ["default"]).read()
    assert [one async for one in examine(deployment.settings)]


async def test_ordinary_times_are_read_and_written_unchanged(deployment: Deployment) -> None:
    for time in (
        datetime(2026, 11, 27, 12, 34, 56, 789_012, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime.now(UTC) + timedelta(days=365),
    ):
        (job,) = await deployment.producer.enqueue_many(
            [Order(request=text_to_image(f"at {time}"), account_id="acme", run_at=time)]
        )
        assert (await deployment.producer.get(job.id)).run_at == time
        (row,) = await deployment.run_sql("SELECT run_at FROM jobs WHERE id = $1", job.id)
        assert row["run_at"] == time


@pytest.mark.parametrize(
    ("credits", "shown"),
    [
        ("NaN", None),
        ("Infinity", None),
        ("1e400", None),
        ("1e30", 1e30),
        ("7", 7),
        ("7.5", 7.5),
        ("-9223372036854775807", -9223372036854775807),
    ],
)
def test_credits_are_written_as_json_can_have_them(credits: str, shown: float | None) -> None:
    assert credits_to_json(Decimal(credits)) == shown
