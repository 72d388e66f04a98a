"""What counts as a reason in SQL: something that can be seen, of at most 500 characters."""

from __future__ import annotations

import re
from decimal import Decimal

import asyncpg
import pytest

from producer.api.requests.admin_bodies import REASON_SCHEMA
from tests.integration.database.database_setup import DatabaseSetup

PRICE = "'gpt-4o-image', 'text-to-image', 1"
ACTS = {
    "SELECT grant_credits('acme', 1, {why})": "a grant needs a reason",
    "SELECT darkroom_refund_job(gen_random_uuid(), {why})": "a refund needs a reason",
    f"SELECT darkroom_change_price({PRICE}, 7, NULL, {{why}})": "a price change needs a reason",
    f"SELECT darkroom_schedule_price({PRICE}, 7, NULL, now() + interval '1 day', {{why}})": (
        "a scheduled price needs a reason"
    ),
    (
        "INSERT INTO scheduled_prices (model, task, quantity, credits, takes_effect_at, reason)"
        f" VALUES ({PRICE}, 7, now() + interval '1 day', {{why}})"
    ): "a scheduled price needs a reason",
    "SELECT darkroom_pause('all', NULL, {why})": "a pause needs a reason of 1 to 500 characters",
    "SELECT darkroom_record_brake_end('default', '[]', {why})": "the end of a brake needs a reason",
    "SELECT id FROM darkroom_settle_late(gen_random_uuid(), 1, 'task', '{{}}', {why})": (
        "a verdict on a late task needs a reason"
    ),
}
UNSEEN = (
    "''",
    "'  '",
    "E'\\t\\r\\n'",
    "U&'\\00A0\\3000'",
    "U&'\\200B\\200E\\2060\\FEFF\\3164'",
)


@pytest.mark.parametrize("act", ACTS)
async def test_an_act_needs_a_reason_that_can_be_seen_and_is_short(
    setup: DatabaseSetup, act: str
) -> None:
    before = await setup.snapshot()
    for why in UNSEEN:
        assert str(await setup.refuses(act.format(why=why))) == ACTS[act]
    refusal = await setup.refuses(act.format(why="repeat('ß', 501)"))
    assert str(refusal) == "the reason has 501 characters; at most 500"
    for point in ("202E", "2066", "001B", "0085"):
        refusal = await setup.refuses(act.format(why=f"U&'a\\{point}b'"))
        assert f"the reason has the character U+{point}, which changes" in str(refusal)
    assert await setup.snapshot() == before


async def test_the_history_of_a_plain_update_has_only_a_reason_that_can_be_seen(
    setup: DatabaseSetup,
) -> None:
    async with setup.database.pool.acquire() as connection:
        for said, stored in (
            ("\t\u200b ", None),
            ("\n weekend \u2764\ufe0f\t", "weekend \u2764\ufe0f"),
        ):
            await connection.execute("SELECT set_config('darkroom.reason', $1, false)", said)
            await connection.execute(
                "UPDATE pricing SET credits = credits + 1 WHERE model = 'flux1-kontext'"
            )
            assert (
                await setup.value("SELECT reason FROM pricing_history ORDER BY id DESC LIMIT 1")
                == stored
            )
        await connection.execute("SELECT set_config('darkroom.reason', repeat('x', 501), false)")
        with pytest.raises(asyncpg.PostgresError, match="the reason has 501 characters"):
            await connection.execute("UPDATE pricing SET credits = credits + 1")
        await connection.execute("RESET darkroom.reason")


async def test_a_grant_has_at_most_2_decimals_unless_the_balance_has_more(
    setup: DatabaseSetup,
) -> None:
    refusal = await setup.refuses("SELECT grant_credits('acme', 6.123456, 'x')")
    assert str(refusal) == "credits have at most 2 decimals, not 6.123456"
    await setup.sql("UPDATE accounts SET balance = balance + 0.125 WHERE id = 'acme'")
    account = await setup.billing.grant("acme", Decimal("-0.125"), "brings it to 2 decimals")
    assert account.balance == 1000


_JUDGED = """
CREATE FUNCTION pg_temp.judged(why text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    RETURN darkroom_readable_reason(why) IS NOT NULL;
EXCEPTION WHEN SQLSTATE 'DR001' THEN RETURN false; END $$
"""


async def test_http_and_sql_take_the_same_characters_in_a_reason(setup: DatabaseSetup) -> None:
    points = [*range(1, 0xD800), *range(0xE000, 0x10000), 0x1F3DE, 0xE0020]
    async with setup.database.pool.acquire() as connection:
        await connection.execute(_JUDGED)
        for frame in ("", "a"):
            texts = [f"{frame}{chr(point)}{frame}" for point in points]
            rows = await connection.fetch(
                "SELECT pg_temp.judged(one) AS is_taken FROM unnest($1::text[]) AS one", texts
            )
            taken = {text for text, row in zip(texts, rows, strict=True) if row["is_taken"]}
            pattern = re.compile(REASON_SCHEMA["pattern"])
            assert taken ^ {text for text in texts if pattern.search(text)} == set()
