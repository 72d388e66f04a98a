"""The schema as documentation and contract: comments, values, promised columns, named queries."""

from __future__ import annotations

import re
from typing import get_args

import asyncpg

from producer.orders.order import Priority
from shared.adapters.postgres.named_queries import get_query, query_names, sql_folder
from shared.domain.lifecycle import OPEN, TERMINAL, JobState
from shared.settings import ChargeBasis
from tests.integration.database.database_setup import DatabaseSetup

PROMISED = {
    "pricing": {
        *("model", "task", "quantity", "credits", "provider_credits", "updated_at", "updated_by"),
    },
    "pricing_history": {
        *("id", "model", "task", "quantity", "credits", "provider_credits", "valid"),
        *("changed_by", "reason"),
    },
    "accounts": {"id", "balance", "held", "available", "created_at"},
    "ledger_entries": {
        *("id", "account_id", "job_id", "kind", "credits", "balance_after", "held_after"),
        *("price_id", "reason", "created_at"),
    },
    "jobs": {
        *("id", "account_id", "model", "task", "request", "state", "reason", "message"),
        *("progress", "provider_task_id", "result_urls", "credits_quoted", "credits_charged"),
        *("attempt", "created_at", "submitted_at", "finished_at", "metadata", "priority"),
        *("run_at", "idempotency_key", "price_id"),
    },
    "job_attempts": {"job_id", "number", "sent_at", "outcome", "provider_task_id"},
    "job_events": {"job_id", "id", "at", "event", "detail"},
}
_OURS = "relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')"


async def test_every_table_and_view_has_a_comment(setup: DatabaseSetup) -> None:
    rows = await setup.sql(
        f"SELECT relname, obj_description(oid, 'pg_class') AS said FROM pg_class WHERE {_OURS}"
    )
    assert {row["relname"] for row in rows} >= {*PROMISED, "jobs_masked", "darkroom_migrations"}
    assert [row["relname"] for row in rows if not row["said"]] == []


async def test_every_column_has_a_comment(setup: DatabaseSetup) -> None:
    rows = await setup.sql(
        "SELECT relname, attname, col_description(attrelid, attnum) AS said"
        "  FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
        f" WHERE {_OURS} AND relkind <> 'v' AND attnum > 0 AND NOT attisdropped"
    )
    assert len(rows) > 50
    assert [(row["relname"], row["attname"]) for row in rows if not row["said"]] == []


async def test_every_function_of_ours_has_a_comment(setup: DatabaseSetup) -> None:
    rows = await setup.sql(
        "SELECT proname, obj_description(pg_proc.oid, 'pg_proc') AS said"
        "  FROM pg_proc JOIN pg_language ON pg_language.oid = prolang"
        " WHERE pronamespace = 'public'::regnamespace AND lanname IN ('plpgsql', 'sql')"
    )
    assert {row["proname"] for row in rows} >= {"grant_credits", "darkroom_guard_price"}
    assert [row["proname"] for row in rows if not row["said"]] == []


async def test_every_table_has_its_promised_columns(setup: DatabaseSetup) -> None:
    rows = await setup.sql(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public'"
    )
    there = {(row["table_name"], row["column_name"]) for row in rows}
    promised = {(table, column) for table, columns in PROMISED.items() for column in columns}
    assert promised - there == set()


async def words_of(setup: DatabaseSetup, constraint: str) -> set[str]:
    text = await setup.value(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1", constraint
    )
    return set(re.findall(r"'(\w+)'::text", text))


async def test_the_words_that_columns_allow_are_those_of_the_code(setup: DatabaseSetup) -> None:
    assert await words_of(setup, "state_must_be_known") == set(JobState)
    assert await words_of(setup, "jobs_priority_check") == set(get_args(Priority))
    assert await words_of(setup, "jobs_charge_basis_check") == set(get_args(ChargeBasis))
    terminal = await words_of(setup, "finished_at_is_set_exactly_in_terminal_states")
    assert terminal == set(TERMINAL)


async def test_the_ledger_knows_the_promised_kinds(setup: DatabaseSetup) -> None:
    kinds = {"grant", "hold", "release", "capture", "adjustment"}
    assert await words_of(setup, "kind_must_be_known") == kinds


async def test_the_indexes_on_open_jobs_know_all_open_states(setup: DatabaseSetup) -> None:
    for index in ("jobs_open", "jobs_open_by_price"):
        text = await setup.value("SELECT pg_get_indexdef($1::text::regclass)", index)
        assert set(re.findall(r"'(\w+)'::text", text)) == OPEN, index


async def test_the_server_understands_every_named_query(setup: DatabaseSetup) -> None:
    faults = {}
    async with setup.database.pool.acquire() as connection:
        for name in sorted(query_names()):
            try:
                await connection.prepare(get_query(name))
            except asyncpg.PostgresError as error:
                faults[name] = str(error)
    assert faults == {}
    assert len(query_names()) > 30


async def test_the_server_understands_every_function(setup: DatabaseSetup) -> None:
    # plpgsql checks a statement when it is first run.
    functions = {
        row["proname"]: row
        for row in await setup.sql(
            "SELECT proname, prosrc, pg_get_function_identity_arguments(oid) AS types"
            "  FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        )
    }
    faults, names = {}, function_names()
    async with setup.database.pool.acquire() as connection:
        for name in names:
            row = functions[f"darkroom_{name}"]
            statement = row["prosrc"].partition("RETURN QUERY")[2].rpartition("END")[0]
            try:
                await connection.execute(
                    f"PREPARE of_function ({row['types']}) AS {statement} DEALLOCATE of_function"
                )
            except asyncpg.PostgresError as error:
                faults[name] = str(error)
    assert faults == {}
    assert len(names) > 15


def function_names() -> list[str]:
    """Return the names of the functions of `sql/functions`, as their files list them."""
    return [
        name
        for file in sorted((sql_folder() / "functions").glob("*.sql"))
        for name in re.findall(r"^-- name: (\w+)$", file.read_text("utf-8"), re.MULTILINE)
    ]
