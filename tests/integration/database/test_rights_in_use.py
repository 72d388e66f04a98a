"""Each named query may be run by the role whose program sends it."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import asyncpg
import pytest

from shared.adapters.postgres.database import Connection
from shared.adapters.postgres.named_queries import get_query, query_names
from tests.support.database_logins import connected, logged_in

ROOT = Path(__file__).parents[3]
PROGRAMS = {"api": ("producer", "shared"), "worker": ("worker", "shared")}
# Keys are billing's; the last only the demo asks, of servers of its own.
# Its alert `jobs_wait` has the name of a query of workers.
NOT_THE_APIS = frozenset({"create_key", "revoke_key", "worker_is_connected", "jobs_wait"})
OF_PRICING = frozenset({"get_price", "list_prices", "list_price_history"}) | {
    "list_price_versions",
    *("change_price", "preview_price", "schedule_price", "unschedule_price", "list_scheduled"),
}
OF_BILLING = frozenset({"create_account", "get_account", "grant_to_account", "list_ledger"}) | {
    *(
        "create_key",
        "revoke_key",
        "list_keys",
        "list_audit",
        "list_sessions",
        "end_session",
        "refund_job",
        "list_accounts",
    ),
    *("statement_bounds", "statement_totals", "statement_lines"),
}


@cache
def queries_of(packages: Iterable[str]) -> frozenset[str]:
    """Return the named queries that the code of these packages names."""
    words = {
        node.value
        for package in packages
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return query_names() & words


@asynccontextmanager
async def explaining(url: str, role: str) -> AsyncIterator[Connection]:
    """Open a connection of a login of this role, on which plans are made without values."""
    async with logged_in(url, [f"darkroom_{role}"]) as of_login, connected(of_login) as connection:
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        yield connection


async def is_refused(connection: Connection, name: str) -> str | None:
    """Return why this login may not run the query. EXPLAIN checks the rights and runs nothing."""
    statement = await connection.prepare(get_query(name))
    nulls = ", ".join(["NULL"] * len(statement.get_parameters()))
    await connection.execute(f"PREPARE asked AS {get_query(name)}")
    try:
        await connection.execute(f"EXPLAIN EXECUTE asked{f'({nulls})' if nulls else ''}")
    except asyncpg.InsufficientPrivilegeError as error:
        return str(error)
    finally:
        await connection.execute("DEALLOCATE asked")
    return None


def queries_of_role(role: str) -> frozenset[str]:
    """Return the queries that the program of a role runs."""
    match role:
        case "api":
            return queries_of(PROGRAMS["api"]) - NOT_THE_APIS
        case "worker":
            return queries_of(PROGRAMS["worker"])
        case "pricing":
            return OF_PRICING
    return OF_BILLING


@pytest.mark.parametrize("role", ["api", "worker", "pricing", "billing"])
async def test_a_role_may_run_every_query_of_its_program(database_url: str, role: str) -> None:
    names = queries_of_role(role)
    async with explaining(database_url, role) as connection:
        refused = {name: await is_refused(connection, name) for name in sorted(names)}
    assert {name: why for name, why in refused.items() if why} == {}


@pytest.mark.parametrize("role", ["api", "worker"])
async def test_the_doctor_may_check_everything_as_a_login_that_runs_beside_it(
    database_url: str, role: str
) -> None:
    files = (ROOT / "producer" / "doctor").glob("*.py")
    names = query_names() & {
        node.value
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert names > {"prices_and_versions_agree", "every_act_on_money_is_noted", "stuck_jobs"}
    async with explaining(database_url, role) as connection:
        refused = {name: await is_refused(connection, name) for name in sorted(names)}
    assert {name: why for name, why in refused.items() if why} == {}


async def test_every_query_is_some_programs(database_url: str) -> None:
    asked = frozenset().union(*(queries_of(packages) for packages in PROGRAMS.values()))
    assert query_names() - asked == frozenset()
    # Other roles are refused, otherwise the test above would prove nothing.
    for role, name in (
        ("worker", "enqueue_job"),
        ("worker", "find_key"),
        ("api", "claim_jobs"),
        ("api", "record_progress"),
        ("api", "create_key"),
        ("api", "find_claim"),
        ("api", "settle_jobs"),
        ("api", "release_job"),
        ("worker", "cancel_job"),
        ("worker", "settle_held"),
        ("pricing", "get_job"),
        ("billing", "change_price"),
        ("billing", "schedule_price"),
        ("pricing", "refund_job"),
        ("pricing", "apply_scheduled_prices"),
        ("worker", "change_price"),
        ("readonly", "get_job"),
        ("readonly", "release_job"),
    ):
        async with explaining(database_url, role) as connection:
            assert await is_refused(connection, name), (role, name)
