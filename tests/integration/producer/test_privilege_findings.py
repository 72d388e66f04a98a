"""The doctor names missing and additional rights of database roles, with the fix."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import asyncpg
import pytest

from producer.doctor import examine
from producer.doctor.finding import Finding
from producer.doctor.privilege_findings import check_privileges
from shared.adapters.monitoring.alert_queries import read_system_state
from shared.adapters.postgres.database import Connection, connect_database
from shared.adapters.postgres.migrations import migrate
from shared.adapters.servers import Servers
from shared.domain.alerts.system_state import SystemState
from tests.integration.producer.test_doctor import settings_of


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def member(owner: Connection) -> AsyncIterator[str]:
    """A role of its own that may log in and is a member of darkroom_service."""
    name = f"member_{uuid4().hex[:12]}"
    await owner.execute(f"CREATE ROLE {name} LOGIN IN ROLE darkroom_service")
    try:
        yield name
    finally:
        await owner.execute(f"DROP OWNED BY {name}")
        await owner.execute(f"DROP ROLE {name}")


def url_of(database_url: str, role: str) -> str:
    """Return the URL by which that role logs in."""
    return f"postgresql://{role}@{database_url.partition('@')[2]}"


async def told_to(database_url: str, role: str) -> Finding:
    async with connect_database(url_of(database_url, role), connections=1) as database:
        return await check_privileges(database)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "REVOKE SELECT ON ledger_entries FROM darkroom_worker",
            "role darkroom_worker lacks SELECT ON ledger_entries",
        ),
        (
            "REVOKE UPDATE (last_used_at) ON api_keys FROM darkroom_api",
            "role darkroom_api lacks UPDATE (last_used_at) ON api_keys",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION darkroom_held_rows FROM darkroom_worker",
            "role darkroom_worker lacks EXECUTE ON FUNCTION darkroom_held_rows(uuid[])",
        ),
        (
            "GRANT UPDATE ON accounts TO darkroom_service",
            "role darkroom_service was given UPDATE ON accounts",
        ),
        (
            "GRANT INSERT (balance) ON accounts TO darkroom_readonly",
            "role darkroom_readonly was given INSERT (balance) ON accounts",
        ),
    ],
)
async def test_a_right_that_was_changed_by_hand_is_named_and_migrate_fixes_it(
    owner: Connection, member: str, database_url: str, statement: str, said: str
) -> None:
    assert (await told_to(database_url, member)).ok
    await owner.execute(statement)
    found = await told_to(database_url, member)
    assert (found.ok, found.detail) == (False, said)
    assert found.fix == "run `darkroom migrate`, which sets the rights again"
    await migrate(database_url)
    assert (await told_to(database_url, member)).ok


async def test_a_role_that_is_no_member_is_made_one(
    owner: Connection, member: str, database_url: str
) -> None:
    await owner.execute(f"REVOKE darkroom_service FROM {member}")
    await owner.execute(f"GRANT SELECT ON darkroom_definitions TO {member}")
    found = await told_to(database_url, member)
    assert found.detail == f"login {member} is no member of darkroom_worker"
    assert found.fix == f'GRANT darkroom_worker TO "{member}"'
    await owner.execute(found.fix)
    assert (await told_to(database_url, member)).ok


@pytest.mark.parametrize(
    ("process", "role", "other"),
    [("worker", "worker", "api"), ("api", "api", "worker"), ("producer", "api", "worker")],
)
async def test_the_login_of_a_process_is_examined_from_elsewhere(
    owner: Connection, member: str, database_url: str, process: str, role: str, other: str
) -> None:
    name = f"darkroom-{process}"
    await owner.execute(f"REVOKE darkroom_service FROM {member}")
    await owner.execute(f"GRANT darkroom_{other} TO {member}")
    async with connect_database(url_of(database_url, member), connections=1, name=name):
        found = await told_to(database_url, "darkroom")
        assert found.detail == f"login {member} is no member of darkroom_{role}"
        await owner.execute(found.fix or "")
        assert (await told_to(database_url, "darkroom")).ok


@pytest.mark.parametrize("role", ["readonly", "pricing", "billing", "admin"])
async def test_a_person_who_runs_a_command_meanwhile_is_no_fault(
    owner: Connection, member: str, database_url: str, role: str
) -> None:
    await owner.execute(f"REVOKE darkroom_service FROM {member}; GRANT darkroom_{role} TO {member}")
    url = url_of(database_url, member)
    async with connect_database(url, connections=1, name="darkroom-producer"):
        assert (await told_to(database_url, "darkroom")).ok
    async with connect_database(url, connections=1, name="darkroom-api"):
        found = await told_to(database_url, "darkroom")
        assert found.detail == f"login {member} is no member of darkroom_api"


async def test_a_member_counts_the_connections_of_other_roles_too(
    member: str, database_url: str
) -> None:
    before = (await situation_of(database_url, member)).connections
    async with AsyncExitStack() as sessions:
        for _ in range(5):
            session = await asyncpg.connect(database_url)
            sessions.push_async_callback(session.close)
        assert (await situation_of(database_url, member)).connections == before + 5


async def situation_of(database_url: str, role: str) -> SystemState:
    async with connect_database(url_of(database_url, role), connections=1) as database:
        return await read_system_state(database)


async def test_the_doctor_of_a_member_reports_it_before_the_failures_that_it_causes(
    owner: Connection, member: str, servers: Servers, database_url: str
) -> None:
    await owner.execute("REVOKE SELECT ON ledger_entries FROM darkroom_api, darkroom_worker")
    settings = settings_of(servers, database_url=url_of(database_url, member))
    found = {one.name: one async for one in examine(settings) if not one.ok}
    assert "darkroom_worker lacks SELECT ON ledger_entries" in found["privileges"].detail
    assert "permission denied" in found["postgres"].detail
