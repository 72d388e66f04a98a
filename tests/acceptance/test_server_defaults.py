"""What a server, a database or a role sets by default does not matter to the life of a job."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from producer import JobState, Producer
from producer.doctor.privilege_findings import check_privileges
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.migrations import migrate, require_current_schema
from shared.adapters.servers import Servers
from shared.settings import Settings
from tests.fakes.fake_webhook_receiver import FakeWebhookReceiver, receiving
from tests.support.database_logins import connected
from tests.support.deployment import Deployment

DEFAULTS = {
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    # Short, but longer than a busy machine needs for the first statement of a transaction of ours.
    "statement_timeout": "500ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1s",
    "idle_session_timeout": "1s",
}


async def set_defaults(url: str, leave_out: Sequence[str] = ()) -> None:
    """Give every session of the database these defaults from now on, and end the others."""
    async with connected(url) as connection:
        name = await connection.fetchval("SELECT current_database()")
        for setting, value in DEFAULTS.items():
            if setting not in leave_out:
                await connection.execute(f"""ALTER DATABASE "{name}" SET {setting} = '{value}'""")
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture
async def database_url(empty_database_url: str) -> str:
    """A database that is migrated and used under these defaults."""
    await set_defaults(empty_database_url)
    await migrate(empty_database_url)
    return empty_database_url


@pytest.fixture
async def receiver() -> AsyncIterator[FakeWebhookReceiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def producer(servers: Servers) -> AsyncIterator[Producer]:
    async with Producer.connect_to(servers, webhooks_allow_loopback=True) as producer:
        yield producer


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhooks_allow_loopback": True})


async def test_sessions_and_transactions_of_ours_have_other_settings(
    database: Database, database_url: str
) -> None:
    async with connected(database_url) as plain:
        for setting, value in DEFAULTS.items():
            assert await plain.fetchval(f"SHOW {setting}") == value
    async with database.transaction() as queries:
        for setting, value in DEFAULTS.items():
            if not setting.startswith(("escape_string", "default_transaction_deferrable")):
                assert await queries.connection.fetchval(f"SHOW {setting}") != value, setting
    async with database.pool.acquire() as connection:
        assert await connection.fetchval("SHOW transaction_isolation") == "read committed"


async def test_a_schema_that_was_made_under_other_defaults_is_current(
    database_url: str, database: Database
) -> None:
    assert await migrate(database_url) == []
    await require_current_schema(database_url)
    finding = await check_privileges(database)
    assert finding.ok, finding


async def test_a_job_lives_under_defaults_that_nobody_expects(
    deployment: Deployment, receiver: FakeWebhookReceiver
) -> None:
    producer = deployment.producer
    async with deployment.worker():
        job = await deployment.ended(await deployment.enqueue(webhook_url=f"{receiver.url}/end"))
        assert job.state is JobState.SUCCEEDED
        await receiver.has(1, "/end")
        await producer.billing.refund(job.id, Decimal(2), reason="blurred")
        later = await deployment.enqueue(run_at=datetime.now(UTC) + timedelta(hours=1))
        assert later.run_at.utcoffset() == timedelta(0)
        await producer.cancel(later.id)
        again = await deployment.ended((await producer.retry(later.id)).id)
        assert again.state is JobState.SUCCEEDED
    await deployment.check_account(balance=10_000 - 2 * 6 + 2)
    await deployment.check_invariants_hold()
    deployment.check_paid_once()
