"""Each role can do its own work, and is refused everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal

import asyncpg
import pytest

from producer.monitoring.latest_failures import read_failures
from shared.adapters.monitoring.queue_snapshot import read_snapshot
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.migrations import require_current_schema
from shared.adapters.postgres.session_setup import set_codecs
from shared.domain import job_events
from shared.domain.lifecycle import JobState
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.deployment import image_to_image, text_to_image
from tests.support.example_jobs import polled

SERVICE, ADMIN, READONLY = "darkroom_service", "darkroom_admin", "darkroom_readonly"
SECRET = "a secret lighthouse"
FORBIDDEN: Mapping[str, tuple[str, ...]] = {
    SERVICE: (
        "UPDATE pricing SET credits = 1",
        (
            "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
            " VALUES ('m', 't', 1, 1, 1)"
        ),
        "DELETE FROM pricing",
        "TRUNCATE pricing",
        (
            "INSERT INTO pricing_history (model, task, quantity, credits, provider_credits, valid,"
            " changed_by) VALUES ('m', 't', 1, 1, 1, '[2001-01-01,)', 'me')"
        ),
        "UPDATE pricing_history SET credits = 1",
        "UPDATE ledger_entries SET credits = 1",
        "DELETE FROM ledger_entries",
        "TRUNCATE ledger_entries",
        "DELETE FROM jobs",
        "DELETE FROM job_events",
        "UPDATE job_events SET event = 'other'",
        "DELETE FROM accounts",
        "UPDATE accounts SET id = 'other'",
        "SELECT darkroom_revoke_key('dk_AAAAAAAAAAAA', NULL)",
        "SELECT darkroom_rebuild_price_history('a whim')",
        "DELETE FROM audit_entries",
        "ALTER TABLE ledger_entries DISABLE TRIGGER USER",
        "DROP TABLE jobs",
        "CREATE TABLE mine (id int)",
        "UPDATE darkroom_migrations SET checksum = ''",
    ),
    ADMIN: (
        "SELECT * FROM jobs",
        "UPDATE jobs SET state = 'cancelled', finished_at = now()",
        "SELECT token FROM job_attempts",
        "SELECT token FROM callback_inbox",
        "SELECT * FROM job_attempts",
        "UPDATE accounts SET balance = 1000000",
        "INSERT INTO accounts (id, balance) VALUES ('mine', 1000000)",
        (
            "INSERT INTO ledger_entries (account_id, kind, credits, balance_change, held_change,"
            " balance_after, held_after, reason) VALUES ('acme', 'grant', 1, 1, 0, 1, 0, 'x')"
        ),
        "UPDATE ledger_entries SET credits = 1",
        "DELETE FROM ledger_entries",
        "UPDATE pricing_history SET credits = 1",
        (
            "INSERT INTO pricing_history (model, task, quantity, credits, provider_credits, valid,"
            " changed_by) VALUES ('m', 't', 1, 1, 1, '[2001-01-01,)', 'me')"
        ),
        "TRUNCATE pricing",
        "ALTER TABLE pricing DISABLE TRIGGER USER",
        "CREATE TABLE mine (id int)",
    ),
    READONLY: (
        "SELECT * FROM jobs",
        "SELECT request FROM jobs",
        "SELECT token FROM job_attempts",
        "SELECT token FROM callback_inbox",
        "SELECT * FROM job_attempts",
        "UPDATE jobs_masked SET state = 'failed'",
        "UPDATE pricing SET credits = 1",
        "INSERT INTO accounts (id) VALUES ('mine')",
        "UPDATE accounts SET balance = 1000000",
        "SELECT grant_credits('acme', 1000, 'a gift')",
        "DELETE FROM ledger_entries",
        "CREATE TABLE mine (id int)",
    ),
}


async def setup_of(role: str, database_url: str) -> AsyncIterator[DatabaseSetup]:
    pool = await asyncpg.create_pool(
        database_url, min_size=1, init=set_codecs, server_settings={"role": role}
    )
    try:
        yield DatabaseSetup(Database(pool))
    finally:
        pool.terminate()


@pytest.fixture
async def service(setup: DatabaseSetup, database_url: str) -> AsyncIterator[DatabaseSetup]:
    """The same database, with the role of producers and workers."""
    del setup
    async for service in setup_of(SERVICE, database_url):
        yield service


@pytest.fixture
async def admin(setup: DatabaseSetup, database_url: str) -> AsyncIterator[DatabaseSetup]:
    """The same database, with the role of admins."""
    del setup
    async for admin in setup_of(ADMIN, database_url):
        yield admin


@pytest.fixture
async def readonly(setup: DatabaseSetup, database_url: str) -> AsyncIterator[DatabaseSetup]:
    """The same database, with the read-only role."""
    del setup
    async for readonly in setup_of(READONLY, database_url):
        yield readonly


@pytest.mark.parametrize("role", FORBIDDEN)
async def test_a_role_is_refused_whatever_is_not_its_work(
    setup: DatabaseSetup, database_url: str, role: str
) -> None:
    await setup.job_in(JobState.GENERATING)
    before = await setup.snapshot()
    async for other in setup_of(role, database_url):
        for statement in FORBIDDEN[role]:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await other.database.pool.execute(statement)
    assert await setup.snapshot() == before


async def test_the_service_takes_jobs_through_every_state(
    service: DatabaseSetup, setup: DatabaseSetup
) -> None:
    assert await service.value("SELECT current_user") == SERVICE
    for state in JobState:
        assert (await service.job_in(state)).state == state
    for event in (job_events.Rejected, job_events.OutcomeUnknown):
        await service.move(await service.job_in(JobState.SUBMITTING), event)
    generating = await service.job_in(JobState.GENERATING)
    await service.move(generating, job_events.Progressed)
    await setup.sql("UPDATE jobs SET deadline_at = now() WHERE id = $1", generating.id)
    await service.store.exceed_deadline(polled(generating), job_events.DeadlineExceeded("too late"))
    await service.move(await service.job_in(JobState.UNKNOWN), job_events.SubmissionLost)
    assert await service.broken_invariants() == {}
    assert await setup.broken_invariants() == {}


async def test_the_service_reads_and_says_what_producers_and_workers_need(
    service: DatabaseSetup, database_url: str
) -> None:
    await service.billing.create_account("new")
    job = await service.enqueue(idempotency_key="once")
    assert (await service.enqueue(idempotency_key="once")).id == job.id
    await service.job_in(JobState.FAILED)
    assert (await read_snapshot(service.database)).queued == 1
    assert len(await read_failures(service.database)) == 1
    prices = await service.billing.prices()
    assert len(prices) == len(await service.billing.price_history(100)) >= 6
    assert len(await service.billing.ledger("acme", None, 10)) == 4
    assert set(await service.book.read_details(job.id)) == {
        *("events", "attempts", "entries", "late_tasks", "audit", "webhooks", "retries"),
    }
    await service.database.fetch("notify_dispatch")
    await require_current_schema(
        f"{database_url}{'&' if '?' in database_url else '?'}role={SERVICE}"
    )


async def test_an_admin_sets_prices_and_is_named_in_the_history(
    admin: DatabaseSetup, setup: DatabaseSetup
) -> None:
    await admin.set_price(9)
    await admin.billing.set_price(
        ("gpt-4o-image", "text-to-image", 2), Decimal(11), reason="sale", actor="maria"
    )
    await admin.sql_confirmed(
        "INSERT INTO pricing (model, task, quantity, credits, provider_credits)"
        " VALUES ('next-model', 'text-to-image', 1, 5, 4)"
    )
    newest = (await admin.billing.price_history(3))[::-1]
    assert [one["credits"] for one in newest] == [9, 11, 5]
    login = await setup.value("SELECT session_user")
    assert [one["changed_by"] for one in newest] == [login, "maria", login]
    assert await setup.broken_invariants() == {}


async def test_an_admin_deletes_a_price_unless_open_jobs_use_it(
    admin: DatabaseSetup, setup: DatabaseSetup
) -> None:
    job = await setup.enqueue()
    with pytest.raises(asyncpg.PostgresError, match="is in use by open jobs"):
        await admin.database.pool.execute("DELETE FROM pricing WHERE quantity = 1")
    await admin.sql_confirmed("DELETE FROM pricing WHERE quantity = 2")
    await setup.book.cancel(job.id)
    await admin.sql_confirmed("DELETE FROM pricing WHERE quantity = 1")
    assert {row["quantity"] for row in await admin.billing.prices()} == {4}
    assert await setup.broken_invariants() == {}


async def test_an_admin_opens_accounts_and_grants(
    admin: DatabaseSetup, setup: DatabaseSetup
) -> None:
    await admin.open_account("new", 50)
    assert await setup.money("new") == (50, 0)
    assert (await admin.billing.ledger("new", None, 5))[0]["reason"] == "for the test"
    assert await setup.broken_invariants() == {}


async def test_operators_see_jobs_without_prompts_images_and_notes(
    readonly: DatabaseSetup, setup: DatabaseSetup
) -> None:
    request = image_to_image(
        prompt=SECRET,
        image_urls=["https://secret.example/in.png"],
        mask_url="https://secret.example/mask.png",
    )
    job = await setup.enqueue(request, metadata={"note": "secret"}, idempotency_key="secret-key")
    plain = await setup.job_in(JobState.SUCCEEDED, request=text_to_image(SECRET))
    rows = {row["id"]: row for row in await readonly.sql("SELECT * FROM jobs_masked")}
    assert set(rows) == {job.id, plain.id}
    for row in rows.values():
        assert "secret" not in str(dict(row))
        assert "images.example" not in str(dict(row))
        assert row["request"]["prompt"] == "(masked)"
    assert rows[job.id]["request"]["aspect_ratio"] == "1:1"
    assert rows[plain.id]["state"] == "succeeded"


async def test_a_prompt_that_was_not_given_is_not_made_up(
    readonly: DatabaseSetup, setup: DatabaseSetup
) -> None:
    await setup.sql_confirmed("UPDATE pricing SET credits = 1")
    job = await setup.enqueue(text_to_image())
    await setup.sql("UPDATE jobs SET request = request - 'prompt' WHERE id = $1", job.id)
    row = (await readonly.sql("SELECT request FROM jobs_masked"))[0]
    assert "prompt" not in row["request"]


async def test_operators_see_money_prices_attempts_and_the_timeline(
    readonly: DatabaseSetup, setup: DatabaseSetup
) -> None:
    job = await setup.job_in(JobState.SUCCEEDED)
    assert (await readonly.billing.account("acme")).balance == 994
    assert len(await readonly.billing.ledger("acme", None, 10)) == 3
    assert len(await readonly.billing.price_history(6)) == 6
    story = await readonly.book.read_details(job.id)
    assert [one["event"] for one in story["events"]] == [
        *("enqueued", "claimed", "submitted", "completed"),
    ]
    assert [one["outcome"] for one in story["attempts"]] == ["accepted"]
    assert [one["kind"] for one in story["entries"]] == ["hold", "capture"]
    token = await setup.value("SELECT token FROM job_attempts")
    assert token not in str(story)


async def test_a_login_without_a_role_sees_nothing(setup: DatabaseSetup) -> None:
    name = f"stranger_{await setup.value('SELECT floor(random() * 1000000000)::bigint')}"
    await setup.sql(f"CREATE ROLE {name}")
    async with setup.database.pool.acquire() as connection:
        await connection.execute(f"SET ROLE {name}")
        for table in ("jobs", "jobs_masked", "accounts", "ledger_entries", "pricing"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {table}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT grant_credits('acme', 1, 'a gift')")
        await connection.execute(f"RESET ROLE; DROP ROLE {name}")
