"""Price versions that were forged before functions were bound to tables are found and fixed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from shared.adapters.postgres.database import connect_database
from shared.adapters.postgres.migrations import migrate, read_migrations
from shared.domain.lifecycle import JobState
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.database.plain_logins import login, sql_before
from tests.support.database_logins import connected, with_user
from tests.support.deployment import text_to_image

BOUND_TRIGGERS = 1 + [one.name for one in read_migrations()].index("bound_triggers")
PRICES = "prices and versions agree"
TABLE = (
    "CREATE TEMP TABLE t (model text, task text, quantity int, credits numeric,"
    " provider_credits numeric, price_id bigint, updated_by text)"
)
TRIGGER = (
    "CREATE TRIGGER x AFTER INSERT OR DELETE ON t FOR EACH ROW"
    " EXECUTE FUNCTION public.darkroom_record_price()"
)
CHANGE = (
    "UPDATE pricing SET credits = 9"
    " WHERE model = 'gpt-4o-image' AND task = 'text-to-image' AND quantity = 1"
)


def forgery(*, version: int, quantity: int, number: int, task: str = "text-to-image") -> list[str]:
    """Close a version in force and open one that charges nothing."""
    row = f"('gpt-4o-image', '{task}', {quantity}, 0, 0, {{}}, 'admin@shop')"
    return [
        TABLE,
        f"INSERT INTO t VALUES {row.format(version)}",
        TRIGGER,
        "DELETE FROM t",
        f"INSERT INTO t VALUES {row.format(number)}",
        "DROP TABLE t",
    ]


async def test_an_earlier_forgery_is_found_and_fixed_by_the_statement_that_the_doctor_names(
    empty_database_url: str, tmp_path: Path
) -> None:
    folder = sql_before(BOUND_TRIGGERS, tmp_path / "sql")
    await migrate(empty_database_url, folder)
    async with login(empty_database_url) as stranger:
        async with connected(with_user(empty_database_url, stranger)) as connection:
            for statement in (
                # The original forgery; with another price, twice; with a price that was not sold.
                *forgery(version=1, quantity=1, number=900_002),
                *forgery(version=2, quantity=2, number=900_003),
                *forgery(version=900_003, quantity=2, number=900_004),
                *forgery(version=0, quantity=3, number=900_005, task="text-to-video"),
            ):
                await connection.execute(statement)
        async with connected(empty_database_url) as owner:
            with pytest.raises(asyncpg.PostgresError, match="append-only"):
                await owner.execute(CHANGE)
    await migrate(empty_database_url)
    async with connect_database(empty_database_url) as database:
        setup = DatabaseSetup(database)
        await setup.open_account()
        found = await setup.broken_invariants()
        assert set(found) == {PRICES}
        assert "gpt-4o-image text-to-image 1: its version 1 was closed at" in found[PRICES]
        assert "version 900002: 0 credits by admin@shop is open" in found[PRICES]
        kept = await setup.sql("SELECT id, model, credits, changed_by FROM pricing_history")
        done = await setup.sql(
            "SELECT * FROM darkroom_rebuild_price_history('found by the doctor')"
        )
        assert {row["version_id"] for row in done} == {1, 2, *range(900_002, 900_006)}
        assert await setup.broken_invariants() == {}
        again = await setup.sql("SELECT id, model, credits, changed_by FROM pricing_history")
        assert set(again) == set(kept)
        (noted,) = await setup.billing.audit(act="price_history_rebuilt")
        assert noted["reason"] == "found by the doctor"
        assert set(noted["after"]) == {str(row["version_id"]) for row in done}
        # From now on prices change and are charged as usual.
        job = await setup.job_in(JobState.GENERATING)
        await setup.sql(CHANGE)
        assert (await setup.settle(job, basis="quoted")).credits_charged == 6
        job = await setup.job_in(JobState.GENERATING)
        assert (await setup.settle(job, basis="lower_of")).credits_charged == 9
        assert await setup.broken_invariants() == {}
        assert await setup.sql("SELECT * FROM darkroom_rebuild_price_history('once more')") == []


async def test_charges_by_a_forged_version_still_refer_to_it(setup: DatabaseSetup) -> None:
    version = await setup.value("SELECT price_id FROM pricing WHERE task = 'text-to-image' LIMIT 1")
    job = await setup.job_in(JobState.SUCCEEDED)
    await setup.sql("ALTER TABLE pricing_history DISABLE TRIGGER USER")
    await setup.sql(
        "UPDATE pricing_history SET valid = tstzrange(lower(valid), now()) WHERE id = $1", version
    )
    await setup.sql(
        "INSERT INTO pricing_history (id, model, task, quantity, credits, provider_credits, valid,"
        " changed_by) SELECT 77, model, task, quantity, 0, 0, tstzrange(now(), NULL), 'mallory'"
        " FROM pricing_history WHERE id = $1",
        version,
    )
    await setup.sql("ALTER TABLE pricing_history ENABLE TRIGGER USER")
    await setup.sql("UPDATE jobs SET message = 'seen' WHERE id = $1", job.id)
    await setup.sql("SELECT darkroom_rebuild_price_history('mallory')")
    forged = (await setup.sql("SELECT * FROM pricing_history WHERE id = 77"))[0]
    assert forged["valid"].upper.year == 1
    assert (forged["credits"], forged["reason"]) == (0, "never in force: mallory")
    assert (await setup.billing.price("gpt-4o-image", "text-to-image", 1))["price_id"] == version
    assert await setup.broken_invariants() == {}


async def test_a_price_that_differs_from_its_version_gets_a_new_version(
    setup: DatabaseSetup,
) -> None:
    job = await setup.enqueue(text_to_image(quantity=2))
    await setup.sql("ALTER TABLE pricing DISABLE TRIGGER USER")
    await setup.sql("UPDATE pricing SET credits = 50 WHERE quantity = 4")
    await setup.sql("UPDATE pricing SET price_id = 4711 WHERE quantity = 2")
    await setup.sql("ALTER TABLE pricing ENABLE TRIGGER USER")
    assert set(await setup.broken_invariants()) == {PRICES}
    await setup.sql("SELECT darkroom_rebuild_price_history('restored from a copy')")
    assert await setup.broken_invariants() == {}
    prices = [row for row in await setup.billing.prices() if row["model"] == "gpt-4o-image"]
    assert [row["credits"] for row in prices] == [6, 7, 50, 6, 7, 50]
    await setup.set_price(Decimal(51), quantity=4)
    assert await setup.broken_invariants() == {}
    # The quote of a job was in force, so it is not a forgery.
    kept = await setup.value("SELECT lower(valid) FROM pricing_history WHERE id = $1", job.price_id)
    assert kept.year > 1


@pytest.mark.parametrize("why", ["''", "'  '", "NULL"])
async def test_rebuilding_asks_why(setup: DatabaseSetup, why: str) -> None:
    refusal = await setup.refuses(f"SELECT darkroom_rebuild_price_history({why})")
    assert "say why" in str(refusal)
