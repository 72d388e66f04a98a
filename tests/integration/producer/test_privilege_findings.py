"""The doctor names what a database role lacks, whose role it is, and how to mend it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import uuid4

import asyncpg
import pytest

from producer.doctor import examine
from producer.finding import Finding
from producer.privilege_findings import examine_privileges
from shared.adapters.alert_reading import read_situation
from shared.adapters.postgres import Connection, Database, connect_database
from shared.adapters.servers import Servers
from shared.domain.situation import Situation
from tests.integration.producer.test_doctor import settings_of

_GRANTED = """
SELECT acl.privilege_type || ' ON ' || relname AS privilege
  FROM pg_class, aclexplode(relacl) AS acl
 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
   AND acl.grantee = 'darkroom_service'::regrole
UNION ALL
SELECT acl.privilege_type || ' (' || string_agg(attname, ', ' ORDER BY attnum) || ') ON ' || relname
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid, aclexplode(attacl) AS acl
 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
   AND acl.grantee = 'darkroom_service'::regrole
 GROUP BY relname, acl.privilege_type
UNION ALL
SELECT acl.privilege_type || ' ON FUNCTION ' || oid::regprocedure
  FROM pg_proc, aclexplode(proacl) AS acl
 WHERE pronamespace = 'public'::regnamespace AND acl.grantee = 'darkroom_service'::regrole
"""


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
        return await examine_privileges(database)


@pytest.mark.parametrize(
    ("revoked", "privilege"),
    [
        ("UPDATE ON jobs", "UPDATE ON jobs"),
        ("INSERT ON ledger_entries", "INSERT ON ledger_entries"),
        ("UPDATE (held) ON accounts", "UPDATE (balance, held) ON accounts"),
        ("DELETE ON processes", "DELETE ON processes"),
    ],
)
async def test_what_was_revoked_is_named_and_the_statement_mends_it(
    owner: Connection, member: str, database_url: str, revoked: str, privilege: str
) -> None:
    assert (await told_to(database_url, member)).ok
    await owner.execute(f"REVOKE {revoked} FROM darkroom_service")
    found = await told_to(database_url, member)
    assert not found.ok
    assert found.detail == f"role {member} lacks {privilege}"
    advice, _, statement = (found.fix or "").partition(": ")
    assert advice == "as the owner of the database"
    assert statement == f"GRANT {privilege} TO darkroom_service"
    await owner.execute(statement)
    assert (await told_to(database_url, member)).ok


async def test_a_function_that_nobody_may_call_any_more_is_named(
    owner: Connection, member: str, database_url: str
) -> None:
    await owner.execute("REVOKE EXECUTE ON FUNCTION darkroom_webhook_endpoint FROM PUBLIC")
    found = await told_to(database_url, member)
    assert "EXECUTE ON FUNCTION darkroom_webhook_endpoint(text)" in found.detail
    await owner.execute((found.fix or "").partition(": ")[2])
    assert (await told_to(database_url, member)).ok


async def test_a_role_that_is_no_member_is_made_one(
    owner: Connection, member: str, database_url: str
) -> None:
    await owner.execute(f"REVOKE darkroom_service FROM {member}")
    found = await told_to(database_url, member)
    assert "more" in found.detail
    statement = f'GRANT darkroom_service TO "{member}"'
    assert statement in (found.fix or "")
    await owner.execute(statement)
    assert (await told_to(database_url, member)).ok


@pytest.mark.parametrize("process", ["worker", "api", "producer"])
async def test_the_role_of_a_process_is_examined_from_elsewhere(
    owner: Connection, member: str, database_url: str, process: str
) -> None:
    name = f"darkroom-{process}"
    async with connect_database(url_of(database_url, member), connections=1, name=name):
        await owner.execute("REVOKE INSERT ON job_events FROM darkroom_service")
        found = await told_to(database_url, "darkroom")
    assert found.detail == f"role {member} lacks INSERT ON job_events"
    assert (await told_to(database_url, "darkroom")).ok


async def test_a_member_counts_the_connections_of_other_roles_too(
    member: str, database_url: str
) -> None:
    before = (await situation_of(database_url, member)).connections
    async with AsyncExitStack() as sessions:
        for _ in range(5):
            session = await asyncpg.connect(database_url)
            sessions.push_async_callback(session.close)
        assert (await situation_of(database_url, member)).connections == before + 5


async def situation_of(database_url: str, role: str) -> Situation:
    async with connect_database(url_of(database_url, role), connections=1) as database:
        return await read_situation(database)


async def test_the_doctor_of_a_member_tells_it_before_what_fails_for_it(
    owner: Connection, member: str, servers: Servers, database_url: str
) -> None:
    await owner.execute("REVOKE SELECT ON ledger_entries FROM darkroom_service")
    settings = settings_of(servers, database_url=url_of(database_url, member))
    found = {one.name: one async for one in examine(settings) if not one.ok}
    assert f"role {member} lacks SELECT ON ledger_entries" in found["privileges"].detail
    assert "permission denied" in found["postgres"].detail


async def test_what_is_needed_is_exactly_what_is_granted(
    owner: Connection, member: str, database: Database, database_url: str
) -> None:
    granted = await owner.fetch(_GRANTED)
    await owner.execute(f"REVOKE darkroom_service FROM {member}")
    async with connect_database(
        url_of(database_url, member), connections=1, name="darkroom-worker"
    ):
        needed = await database.fetch("missing_privileges")
    assert {row["role"] for row in needed} == {member}
    assert {row["privilege"] for row in needed} == {row["privilege"] for row in granted}
