"""Makes jobs of a test database look as if they had ended days ago."""

from __future__ import annotations

from uuid import UUID

import orjson

from tests.integration.database.database_setup import DatabaseSetup

ALL_KINDS = {"events": 90, "callbacks": 90, "webhooks": 90, "prompts": 90, "jobs": 90}
MONEY = (
    "id, account_id, model, task, quantity, variant, state, reason, credits_quoted,"
    " credits_charged, quoted_price_id, price_id, charge_basis, attempt, provider_task_id,"
    " created_at, submitted_at, finished_at, retry_of, consumed_credits, late_result_urls"
)
"""The columns of a job that stay."""
KEPT = {
    "jobs": MONEY,
    "ledger_entries": "*",
    "job_attempts": "job_id, number, token, worker, sent_at, outcome, provider_task_id",
    "late_tasks": "job_id, attempt, provider_task_id, outcome, result_urls, provider_credits",
    "accounts": "*",
    "pricing_history": "*",
    "hourly_totals": "*",
    "daily_account_totals": "*",
}
"""What no prune may change, by table."""


async def age(setup: DatabaseSetup, *ids: UUID, days: float = 100) -> None:
    """Move the ends, events and messages of these jobs into the past."""
    async with setup.database.pool.acquire() as connection, connection.transaction():
        # An end never changes, for every session but this one.
        await connection.execute("SET LOCAL session_replication_role = replica")
        for table, name, time in (("jobs", "id", "finished_at"), ("job_events", "job_id", "at")):
            await connection.execute(
                f"UPDATE {table} SET {time} = {time} - make_interval(secs => $2 * 86400)"
                f" WHERE {name} = ANY($1)",
                list(ids),
                days,
            )


async def prune(
    setup: DatabaseSetup, days: dict[str, int] | None = None, *, batch: int = 500
) -> dict[str, int]:
    """Prune as a worker does until nothing is left. Return how many of each kind."""
    pruned: dict[str, int] = {}
    given = orjson.dumps(ALL_KINDS if days is None else days).decode()
    while rows := await setup.sql("SELECT * FROM darkroom_prune_at_interval($1, $2)", given, batch):
        pruned[rows[0]["kind"]] = pruned.get(rows[0]["kind"], 0) + rows[0]["pruned"]
    return {kind: count for kind, count in pruned.items() if count}


async def kept_rows(setup: DatabaseSetup) -> dict[str, list[str]]:
    """Return what no prune may change."""
    return {
        table: sorted(str(tuple(row)) for row in await setup.sql(f"SELECT {columns} FROM {table}"))
        for table, columns in KEPT.items()
    }
