"""Prices that change at a time: by whoever prices a job first then, exactly once, as was said."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
import pytest

from shared.adapters.postgres.database import connect_database
from shared.domain.lifecycle import JobState
from shared.errors import ScheduledPriceEnded
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.database.plain_logins import login
from tests.support.database_logins import connected, with_user

KEY = "model, task, quantity"
SOON = (
    "INSERT INTO scheduled_prices (model, task, quantity, credits, takes_effect_at, reason)"
    " VALUES ('gpt-4o-image', 'text-to-image', 1, $1, now() + $2, 'summer') RETURNING id"
)
MARIA = orjson.dumps({"actor": "maria", "via": "cli", "is_operator": True}).decode()
APPLY = "SELECT darkroom_apply_scheduled_prices()"


async def schedule(setup: DatabaseSetup, credits: int, *, seconds: float = 3600) -> int:
    return int(await setup.value(SOON, credits, timedelta(seconds=seconds)))


async def make_it_due(setup: DatabaseSetup, scheduled: int, *, ago: str = "1 second") -> None:
    """Move the time of a scheduled price into the past, as if it had come."""
    async with setup.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        # A new database has its first prices for less than a second.
        await connection.execute(
            "UPDATE pricing_history"
            " SET valid = tstzrange(lower(valid) - interval '1 day', upper(valid))"
            " WHERE reason = 'seeded'"
        )
        await connection.execute(
            "UPDATE scheduled_prices SET takes_effect_at = now() - $2::text::interval"
            " WHERE id = $1",
            scheduled,
            ago,
        )


async def row(setup: DatabaseSetup, scheduled: int) -> dict[str, Any]:
    return dict((await setup.sql("SELECT * FROM scheduled_prices WHERE id = $1", scheduled))[0])


async def price(setup: DatabaseSetup) -> int:
    return int((await setup.billing.price("gpt-4o-image", "text-to-image", 1))["credits"])


async def test_before_its_time_nothing_changes(setup: DatabaseSetup) -> None:
    await schedule(setup, 9)
    assert (await setup.enqueue()).credits_quoted == 6
    assert await setup.value(APPLY) == 0
    assert await price(setup) == 6


async def test_the_first_enqueue_at_its_time_is_priced_by_it_though_no_worker_lives(
    setup: DatabaseSetup,
) -> None:
    scheduled = await schedule(setup, 9)
    await make_it_due(setup, scheduled)
    job = await setup.enqueue()
    done = await row(setup, scheduled)
    assert (job.credits_quoted, job.price_id) == (9, done["price_id"])
    assert (done["failure"], done["settled_by"]) == (None, done["scheduled_by"])
    assert await setup.broken_invariants() == {}


async def test_the_first_settlement_at_its_time_is_charged_by_it(setup: DatabaseSetup) -> None:
    job = await setup.job_in(JobState.GENERATING)
    scheduled = await schedule(setup, 9)
    await make_it_due(setup, scheduled)
    assert (await setup.settle(job)).credits_charged == 9
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize("reason", ["x" * 10_000, "summer \u202etsil", "\x1b[31mred", "\u200b"])
async def test_a_reason_that_an_older_version_took_keeps_no_job_from_being_placed_or_charged(
    setup: DatabaseSetup, reason: str
) -> None:
    job = await setup.job_in(JobState.GENERATING)
    scheduled = await schedule(setup, 9)
    async with setup.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "UPDATE scheduled_prices SET reason = $2 WHERE id = $1", scheduled, reason
        )
    await make_it_due(setup, scheduled)
    assert (await setup.settle(job)).credits_charged == 9
    assert (await setup.enqueue()).credits_quoted == 9
    assert (
        await setup.value("SELECT reason FROM pricing_history ORDER BY id DESC LIMIT 1") == reason
    )


async def test_a_batch_of_jobs_is_priced_by_it(setup: DatabaseSetup) -> None:
    await make_it_due(setup, await schedule(setup, 9))
    enqueued = await setup.database.pool.fetch(
        "SELECT credits_quoted FROM darkroom_enqueue_jobs(ARRAY[gen_random_uuid(),"
        " gen_random_uuid()], '{acme,acme}', '{gpt-4o-image,gpt-4o-image}',"
        " '{text-to-image,text-to-image}', '{1,1}', '{{},{}}', '{NULL,NULL}', '{{},{}}',"
        " '{NULL,NULL}', '{normal,normal}', '{NULL,NULL}', '{NULL,NULL}')".replace(
            "'{{},{}}'", "ARRAY['{}', '{}']"
        )
    )
    assert [one["credits_quoted"] for one in enqueued] == [9, 9]


async def test_history_says_who_scheduled_it_and_why_not_who_applied_it(
    setup: DatabaseSetup, database_url: str
) -> None:
    async with (
        login(database_url, member_of=["darkroom_pricing"]) as maria,
        connected(with_user(database_url, maria)) as connection,
    ):
        scheduled = await connection.fetchval(SOON, 9, timedelta(hours=1))
    await make_it_due(setup, scheduled)
    async with (
        login(database_url, member_of=["darkroom_worker"]) as worker,
        connected(with_user(database_url, worker)) as connection,
    ):
        await connection.execute("SELECT set_config('darkroom.actor', 'the boss', false)")
        assert await connection.fetchval(APPLY) == 1
    version = (await setup.billing.price_history(1))[0]
    assert (version["changed_by"], version["reason"], version["credits"]) == (maria, "summer", 9)
    changed, made = (await setup.billing.audit(limit=2))[:2]
    assert (changed["act"], changed["actor"], changed["via"]) == (
        "price_changed",
        maria,
        "schedule",
    )
    assert (changed["reason"], changed["database_role"]) == ("summer", worker)
    assert (made["act"], made["actor"], made["via"]) == ("price_scheduled", maria, "sql")
    assert await setup.broken_invariants() == {}


async def test_it_is_applied_once_however_many_apply_it_at_once(
    setup: DatabaseSetup, database_url: str
) -> None:
    due = [await schedule(setup, 9), await schedule(setup, 8, seconds=7200)]
    await make_it_due(setup, due[0], ago="2 seconds")
    await make_it_due(setup, due[1], ago="1 second")
    async with connect_database(database_url, connections=8) as database:
        applied = await asyncio.gather(*(database.pool.fetchval(APPLY) for _ in range(24)))
    assert sum(applied) == 2
    assert await price(setup) == 8
    assert [one["credits"] for one in (await setup.billing.price_history(2))] == [8, 9]
    assert await setup.value(APPLY) == 0
    assert await setup.broken_invariants() == {}


async def test_a_program_that_dies_while_it_applies_one_leaves_it_for_the_next(
    setup: DatabaseSetup,
) -> None:
    scheduled = await schedule(setup, 9)
    await make_it_due(setup, scheduled)
    before = await setup.snapshot()
    async with setup.database.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert await connection.fetchval(APPLY) == 1
        await transaction.rollback()
    assert await setup.snapshot() == before
    assert await setup.value(APPLY) == 1
    assert await price(setup) == 9


async def test_a_worker_that_is_killed_while_it_applies_one_leaves_it_for_the_next(
    setup: DatabaseSetup, database_url: str
) -> None:
    versions = len(await setup.billing.price_history(100))
    scheduled = await schedule(setup, 9)
    await make_it_due(setup, scheduled)
    async with connected(database_url) as connection:
        await connection.execute("BEGIN")
        assert await connection.fetchval(APPLY) == 1
        # While it lives, nobody waits for it, and the price in force is that of before.
        assert (await setup.enqueue()).credits_quoted == 6
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        assert await setup.value("SELECT pg_terminate_backend($1, 5000)", pid)
    assert (await setup.enqueue()).credits_quoted == 9
    assert await setup.value(APPLY) == 0
    assert len(await setup.billing.price_history(100)) == versions + 1
    assert await setup.broken_invariants() == {}


async def test_an_admin_who_holds_the_price_delays_it_and_keeps_no_job_up(
    setup: DatabaseSetup,
) -> None:
    scheduled = await schedule(setup, 9)
    await make_it_due(setup, scheduled)
    async with setup.database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM pricing WHERE price_id > 0 FOR UPDATE")
        job = await asyncio.wait_for(setup.enqueue(), 5)
        assert job.credits_quoted == 6
        assert (await row(setup, scheduled))["settled_at"] is None
    assert (await setup.enqueue()).credits_quoted == 9
    assert await setup.broken_invariants() == {}


async def test_a_later_change_by_hand_is_not_taken_back(setup: DatabaseSetup) -> None:
    scheduled = await schedule(setup, 9)
    await make_it_due(setup, scheduled, ago="1 hour")
    await setup.set_price(8)
    assert await setup.value(APPLY) == 0
    assert await price(setup) == 8
    assert (await row(setup, scheduled))["failure"] == "the price had been changed since that time"


async def test_a_price_that_was_deleted_meanwhile_is_given_up(setup: DatabaseSetup) -> None:
    scheduled = await schedule(setup, 9)
    await setup.sql_confirmed("DELETE FROM pricing WHERE task = 'text-to-image' AND quantity = 1")
    await make_it_due(setup, scheduled)
    assert await setup.value(APPLY) == 0
    assert (await row(setup, scheduled))["failure"] == "pricing had no such row any more"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ("'gpt4o', 'text-to-image', 1, 9, now() + interval '1 day', 'why'", "pricing has no row"),
        ("'gpt-4o-image', 'text', 1, 9, now() + interval '1 day', 'why'", "pricing has no row"),
        ("'gpt-4o-image', 'text-to-image', 3, 9, now() + interval '1 day', 'w'", "has no row"),
        ("'gpt-4o-image', 'text-to-image', 1, 9, now(), 'why'", "the next two years"),
        ("'gpt-4o-image', 'text-to-image', 1, 9, 'infinity', 'why'", "the next two years"),
        ("'gpt-4o-image', 'text-to-image', 1, 9, now() + interval '1 day', ' '", "a reason"),
        ("'gpt-4o-image', 'text-to-image', 1, 1, now() + interval '1 day', 'w'", "more than 5"),
        ("'gpt-4o-image', 'text-to-image', 1, -1, now() + interval '1 day', 'w'", "from 0 to"),
        ("'gpt-4o-image', 'text-to-image', 1, 'NaN', now() + interval '1 day', 'w'", "from 0 to"),
    ],
)
async def test_what_would_be_refused_at_its_time_is_refused_when_it_is_scheduled(
    setup: DatabaseSetup, values: str, sentence: str
) -> None:
    refusal = await setup.refuses(
        "INSERT INTO scheduled_prices (model, task, quantity, credits, takes_effect_at, reason)"
        f" VALUES ({values})"
    )
    assert sentence in str(refusal)


async def test_a_change_is_compared_with_the_price_that_it_will_replace(
    setup: DatabaseSetup,
) -> None:
    await schedule(setup, 30)
    await schedule(setup, 120, seconds=7200)
    refusal = await setup.refuses(SOON, 121, timedelta(minutes=5))
    assert "credits from 6 to 121" in str(refusal)


async def test_two_changes_of_a_price_at_one_time_are_refused(setup: DatabaseSetup) -> None:
    at = await setup.value("SELECT now() + interval '1 day'")
    insert = (
        "INSERT INTO scheduled_prices (model, task, quantity, credits, takes_effect_at, reason)"
        " VALUES ('gpt-4o-image', 'text-to-image', 1, $1, $2, 'why')"
    )
    await setup.sql(insert, 8, at)
    refusal = await setup.refuses(insert, 9, at, sqlstate="23505")
    assert refusal.constraint == "scheduled_prices_waiting"


async def test_a_revoked_change_never_holds(setup: DatabaseSetup) -> None:
    scheduled = await schedule(setup, 9)
    await setup.sql("UPDATE scheduled_prices SET is_revoked = true WHERE id = $1", scheduled)
    await make_it_due(setup, scheduled)
    assert await setup.value(APPLY) == 0
    assert await price(setup) == 6
    assert (await row(setup, scheduled))["settled_by"] is not None


async def test_from_its_time_on_a_change_is_not_revoked_though_nobody_has_applied_it(
    setup: DatabaseSetup,
) -> None:
    scheduled = await schedule(setup, 9)
    await make_it_due(setup, scheduled)
    refusal = await setup.refuses("UPDATE scheduled_prices SET is_revoked = true")
    assert f"scheduled price {scheduled} has taken effect at" in refusal.message
    assert refusal.constraint == "a_scheduled_price_ends_once"
    with pytest.raises(ScheduledPriceEnded, match="already"):
        await setup.billing.price_changes.unschedule(scheduled)
    assert (await setup.enqueue()).credits_quoted == 9
    assert not (await row(setup, scheduled))["is_revoked"]


async def test_what_was_settled_stays(setup: DatabaseSetup) -> None:
    scheduled = await schedule(setup, 9)
    for change in ("credits = 1", "takes_effect_at = now()", "scheduled_by = 'me'"):
        assert "does not change" in str(
            await setup.refuses(f"UPDATE scheduled_prices SET {change}")
        )
    await make_it_due(setup, scheduled)
    await setup.value(APPLY)
    refusal = await setup.refuses("UPDATE scheduled_prices SET is_revoked = true")
    assert refusal.constraint == "a_scheduled_price_ends_once"
    await setup.refuses("DELETE FROM scheduled_prices")
    await setup.refuses("TRUNCATE scheduled_prices")


async def test_programs_schedule_and_revoke_in_the_name_of_a_person(setup: DatabaseSetup) -> None:
    call = (
        "SELECT (darkroom_schedule_price('gpt-4o-image', 'text-to-image', 1, $1, 5,"
        " now() + interval '1 day', 'sale', $2, $3::text::jsonb)).*"
    )
    await setup.refuses(call, 1, False, MARIA)
    made = dict((await setup.sql(call, 1, True, MARIA))[0])
    assert (made["scheduled_by"], made["credits"], made["provider_credits"]) == ("maria", 1, 5)
    for _ in range(2):
        (gone,) = await setup.sql(
            "SELECT * FROM darkroom_unschedule_price($1, 'no sale', $2::text::jsonb)",
            made["id"],
            MARIA,
        )
        assert (gone["is_revoked"], gone["settled_by"]) == (True, "maria")
    entries = [one for one in await setup.billing.audit() if one["act"] == "price_unscheduled"]
    assert [(one["actor"], one["reason"]) for one in entries] == [("maria", "no sale")]
    assert await setup.sql("SELECT * FROM darkroom_unschedule_price(4711)") == []


async def test_who_sets_prices_makes_and_revokes_rows_and_settles_none(
    setup: DatabaseSetup, database_url: str
) -> None:
    of_another = await schedule(setup, 9)
    async with (
        login(database_url, member_of=["darkroom_pricing"]) as name,
        connected(with_user(database_url, name)) as connection,
    ):
        await connection.fetchval(SOON, 9, timedelta(days=1))
        for change in ("settled_at = now()", "price_id = 1", "failure = 'x'", "credits = 1"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"UPDATE scheduled_prices SET {change}")
        # To say that one is being applied is believed of nobody.
        await connection.execute(
            "SELECT set_config('darkroom.schedule', $1, false)", str(of_another)
        )
        await connection.execute("UPDATE pricing SET credits = 8.5 WHERE quantity = 4")
        assert await connection.fetchval("SELECT max(updated_by) FROM pricing") == name
        await connection.execute("UPDATE scheduled_prices SET is_revoked = true")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(APPLY)
