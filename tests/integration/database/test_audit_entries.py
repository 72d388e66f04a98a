"""Each act of an operator has an audit entry, written by the statement that performs the act."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg
import orjson
import pytest

from producer.actor import Actor
from producer.audit_entries import Act
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.domain.lifecycle import JobState
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.database.plain_logins import login
from tests.integration.database.test_schema import words_of
from tests.support.database_logins import connected, with_user

ADMIN, SERVICE = "darkroom_admin", "darkroom_service"
CLAIM = orjson.dumps(
    {
        "actor": "the boss",
        "via": "api",
        "is_operator": True,
        "key_prefix": "dk_AAAAAAAAAAAA",
        "key_role": "admin",
        "os_user": "root",
        "origin": "192.0.2.1",
    }
).decode()
URL = "https://hooks.example/end"
MARIA = Actor(
    "maria", via="cli", is_operator=True, os_user="maria", origin="office-7", key_prefix=None
)
PLAIN_SQL: Mapping[Act, str] = {
    Act.PRICE_CHANGED: "UPDATE pricing SET credits = 9 WHERE price_id = 1",
    Act.PRICE_SCHEDULED: (
        "INSERT INTO scheduled_prices (model, task, quantity, credits, takes_effect_at, reason)"
        " VALUES ('gpt-4o-image', 'text-to-image', 1, 8, now() + interval '1 day', 'summer')"
    ),
    Act.PRICE_UNSCHEDULED: "UPDATE scheduled_prices SET is_revoked = true",
    Act.ACCOUNT_CREATED: "INSERT INTO accounts (id) VALUES ('shop')",
    Act.CREDITS_GRANTED: "SELECT grant_credits('acme', 5, 'invoice 17')",
    Act.CREDITS_ADJUSTED: "SELECT grant_credits('acme', -5, 'a mistake')",
    Act.KEY_CREATED: (
        "INSERT INTO api_keys (id, prefix, secret_sha256, role, account_id, name) VALUES"
        " (gen_random_uuid(), 'dk_BBBBBBBBBBBB', sha256('x'), 'service', 'acme', 'till')"
    ),
    Act.KEY_REVOKED: "UPDATE api_keys SET revoked_at = now() WHERE prefix = 'dk_BBBBBBBBBBBB'",
    Act.JOB_CANCELLED: (
        "UPDATE jobs SET state = 'cancelled', reason = 'by hand', finished_at = now()"
        " WHERE id = (SELECT id FROM jobs WHERE state = 'queued' LIMIT 1)"
    ),
    Act.WEBHOOK_SECRET_CREATED: "INSERT INTO webhook_account_secrets (account_id) VALUES ('acme')",
    Act.WEBHOOK_SECRET_REVOKED: "DELETE FROM webhook_account_secrets",
    Act.WEBHOOK_SECRET_ROTATED: (
        "UPDATE webhook_endpoints SET secret = darkroom_new_webhook_secret(),"
        " previous_secret = secret, previous_secret_until = now(), rotated_at = now()"
    ),
    Act.WEBHOOK_REPLAYED: "UPDATE webhook_messages SET replayed_at = now()",
    Act.ACCOUNT_LIMITS_CHANGED: "UPDATE accounts SET weight = 2, max_open_jobs = 5",
    Act.MODEL_ROUTED: (
        "INSERT INTO model_routes (model, via, reason, routed_by)"
        " VALUES ('gpt-4o-image', '4o-image-api', 'its endpoint is gone', session_user)"
    ),
}
"""Statements that people may type, and the act of the audit entry of each."""
OF_NO_ACCOUNT = {
    *(Act.PRICE_CHANGED, Act.PRICE_SCHEDULED, Act.PRICE_UNSCHEDULED, Act.MODEL_ROUTED),
}
NOT_PLAIN = {
    Act.JOB_REFUNDED,
    Act.JOB_RETRIED,
    Act.JOB_RESOLVED,
    Act.WEBHOOK_ENDPOINT_CREATED,
    Act.PRICE_HISTORY_REBUILT,
    Act.QUEUE_PAUSED,
    Act.QUEUE_RESUMED,
    Act.ALERT_ACKNOWLEDGED,
    Act.IMAGES_PRUNED,
    Act.IMAGES_RETRIED,
    Act.DATA_PRUNED,
    Act.PROMPTS_ERASED,
    Act.SESSION_OPENED,
    Act.SESSION_ENDED,
    Act.LOGIN_FAILED,
}
"""Acts that are possible only through a function or an INSERT of a whole job."""


async def newest(setup: DatabaseSetup) -> dict[str, Any]:
    return (await setup.billing.audit(limit=1))[0]


async def test_every_kind_of_act_is_a_word_that_the_table_knows(setup: DatabaseSetup) -> None:
    assert await words_of(setup, "act_must_be_known") == {act.value for act in Act}
    assert set(PLAIN_SQL) | NOT_PLAIN == set(Act)


async def test_a_statement_typed_by_hand_leaves_its_entry(setup: DatabaseSetup) -> None:
    await setup.enqueue(webhook_url=URL)
    ended = await setup.enqueue(webhook_url=URL)
    await setup.book.cancel(ended.id)
    owner = await setup.value("SELECT session_user")
    for act, statement in PLAIN_SQL.items():
        await setup.sql(statement)
        entry = await newest(setup)
        assert entry["act"] == act, statement
        assert (entry["actor"], entry["database_role"], entry["via"]) == (owner, owner, "sql")
        assert entry["key_prefix"] is entry["os_user"] is entry["origin"] is None
        assert entry["before"] != entry["after"]
        if act not in OF_NO_ACCOUNT:
            assert entry["account_id"] in {"acme", "shop"}
    assert "whsec" not in str(await setup.billing.audit())


async def test_an_act_that_is_rolled_back_leaves_no_entry_and_no_entry_no_act(
    setup: DatabaseSetup,
) -> None:
    before = await setup.snapshot()
    async with setup.database.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(PLAIN_SQL[Act.CREDITS_GRANTED])
        await transaction.rollback()
    assert await setup.snapshot() == before
    await setup.sql(
        "ALTER TABLE audit_entries ADD CONSTRAINT a_drill CHECK (act = 'none') NOT VALID"
    )
    for act in (Act.PRICE_CHANGED, Act.ACCOUNT_CREATED, Act.CREDITS_GRANTED, Act.KEY_CREATED):
        await setup.refuses(PLAIN_SQL[act], sqlstate="23514")
    job = await setup.enqueue()
    with pytest.raises(asyncpg.CheckViolationError):
        await setup.database.pool.execute(
            "SELECT id FROM darkroom_cancel_job($1, $2::text::jsonb)", job.id, CLAIM
        )
    assert (await setup.store.load(job.id)).state is JobState.QUEUED
    # A change that is not an operator's act needs no entry.
    await setup.book.cancel(job.id)


async def test_entries_are_append_only_for_every_role(
    setup: DatabaseSetup, database_url: str
) -> None:
    await setup.set_price(9)
    for statement in (
        "UPDATE audit_entries SET actor = 'nobody'",
        "UPDATE audit_entries SET reason = 'a better one'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
    ):
        refusal = await setup.refuses(statement)
        assert "on audit_entries is refused" in str(refusal)
    insert = (
        "INSERT INTO audit_entries (act, actor, via, subject)"
        " VALUES ('price_changed', 'the boss', 'sql', 'pricing')"
    )
    call = "SELECT darkroom_write_audit_entry('price_changed', 'pricing', NULL, NULL, NULL, '{}')"
    for role in (ADMIN, SERVICE, "darkroom_readonly"):
        async with (
            login(database_url, member_of=[role]) as name,
            connected(with_user(database_url, name)) as connection,
        ):
            for statement in (insert, call, "DELETE FROM audit_entries"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)


async def test_who_acts_is_believed_of_our_services_and_of_no_other_login(
    setup: DatabaseSetup, database_url: str
) -> None:
    grant = "SELECT grant_credits('acme', 1, 'why', false, $1::text::jsonb)"
    for role, is_believed in ((SERVICE, True), (ADMIN, False)):
        async with (
            login(database_url, member_of=[role]) as name,
            connected(with_user(database_url, name)) as connection,
        ):
            await connection.execute(grant, CLAIM)
            entry = await newest(setup)
            assert entry["actor"] == ("the boss" if is_believed else name)
            assert entry["via"] == ("api" if is_believed else "sql")
            assert entry["key_prefix"] == ("dk_AAAAAAAAAAAA" if is_believed else None)
            assert entry["key_role"] == ("admin" if is_believed else None)
            # The login cannot be set by the caller. The other values are stored as given.
            assert entry["database_role"] == name
            assert (entry["os_user"], entry["origin"]) == ("root", "192.0.2.1")
            # The same for a whole session, which every login may set.
            await connection.execute("SELECT set_config('darkroom.context', $1, false)", CLAIM)
            await connection.execute("SELECT set_config('darkroom.actor', 'the boss', false)")
            await connection.execute("SELECT grant_credits('acme', 1, 'why')")
            assert (await newest(setup))["actor"] == ("the boss" if is_believed else name)


@pytest.mark.parametrize("context", ["no json", "[1]", "17", '"x"', "{", '{"via": {"a": 1}}'])
async def test_nonsense_said_of_who_acts_keeps_no_act_from_being_noted(
    setup: DatabaseSetup, context: str
) -> None:
    async with setup.database.pool.acquire() as connection:
        await connection.execute("SELECT set_config('darkroom.context', $1, false)", context)
        await connection.execute("SELECT grant_credits('acme', 1, 'why')")
        await connection.execute("RESET darkroom.context")
    entry = await newest(setup)
    assert (entry["act"], entry["via"], entry["reason"]) == ("credits_granted", "sql", "why")


async def test_the_actor_of_one_act_is_not_the_actor_of_the_next_in_the_transaction(
    setup: DatabaseSetup,
) -> None:
    owner = await setup.value("SELECT session_user")
    async with setup.database.transaction() as queries:
        await queries.connection.execute(
            "SELECT grant_credits('acme', 1, 'invoice 17', false, $1::text::jsonb)", CLAIM
        )
        await queries.connection.execute(
            "SELECT darkroom_set_price('gpt-4o-image', 'text-to-image', 1, 9, 'sale',"
            " $1::text::jsonb)",
            CLAIM,
        )
        await queries.connection.execute("UPDATE pricing SET credits = 10 WHERE quantity = 4")
    *by_hand, priced, granted = await setup.billing.audit(limit=4)
    assert {(one["actor"], one["reason"]) for one in by_hand} == {(owner, None)}
    assert (priced["actor"], priced["reason"]) == ("the boss", "sale")
    assert (granted["actor"], granted["reason"]) == ("the boss", "invoice 17")
    assert (await setup.billing.price_history(1))[0]["changed_by"] == owner


async def test_before_and_after_say_what_changed(setup: DatabaseSetup) -> None:
    await setup.billing.grant("acme", -40, "too much", actor=MARIA)  # type: ignore[arg-type]
    entry = await newest(setup)
    assert entry["act"] == Act.CREDITS_ADJUSTED
    assert (entry["before"], entry["after"]) == (
        {"balance": 1_000},
        {"balance": 960, "credits": -40},
    )
    ledger = (await setup.billing.ledger("acme", None, 1))[0]
    assert entry["subject"] == f"ledger_entries {ledger['id']}"
    assert (entry["actor"], entry["via"], entry["os_user"]) == ("maria", "cli", "maria")
    assert (entry["origin"], entry["reason"]) == ("office-7", "too much")
    key, _ = await KeyStore(setup.database).create(Role.SERVICE, "acme", "till", actor=MARIA)
    assert (await newest(setup))["subject"] == f"api_keys {key.prefix}"
    await KeyStore(setup.database).revoke(key.prefix, actor=MARIA)
    revoked = await newest(setup)
    assert (revoked["act"], revoked["before"]["revoked_at"]) == (Act.KEY_REVOKED, None)
    assert revoked["after"]["revoked_at"] is not None
    # Revoking again changes nothing, and writes no entry.
    await KeyStore(setup.database).revoke(key.prefix, actor=MARIA)
    assert (await newest(setup))["id"] == revoked["id"]
    assert "secret" not in str(await setup.billing.audit())


async def test_entries_are_found_by_account_job_act_and_who(setup: DatabaseSetup) -> None:
    await setup.open_account("other", 5)
    job = await setup.enqueue()
    await setup.book.cancel(job.id, MARIA)
    await setup.set_price(9)
    owner = await setup.value("SELECT session_user")
    assert [one["act"] for one in await setup.billing.audit(job_id=job.id)] == ["job_cancelled"]
    assert {one["account_id"] for one in await setup.billing.audit(account_id="other")} == {"other"}
    assert len(await setup.billing.audit(account_id="other")) == 2
    assert len(await setup.billing.audit(act=Act.PRICE_CHANGED, actor=owner, limit=1)) == 1
    assert [one["act"] for one in await setup.billing.audit(actor="maria")] == ["job_cancelled"]
    first, second = await setup.billing.audit(limit=2)
    assert (await setup.billing.audit(limit=1, below=first["id"]))[0] == second
    assert (await setup.book.read_details(job.id))["audit"] == await setup.billing.audit(
        job_id=job.id
    )
