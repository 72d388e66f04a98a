"""No login acts with the rights of another, by a trigger, a call or a name that it created."""

from __future__ import annotations

import asyncpg
import pytest

from shared.adapters.postgres.database import Connection
from shared.adapters.postgres.migrations import migrate
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.database.plain_logins import login
from tests.integration.database.test_price_forgery import TABLE, TRIGGER
from tests.support.database_logins import connected, with_user

ADMIN, SERVICE, READONLY = "darkroom_admin", "darkroom_service", "darkroom_readonly"
SAFE_PATHS = {
    "search_path=pg_catalog, pg_temp",
    "search_path=pg_catalog, public, pg_temp",
    "search_path=public, pg_temp",
}
"""Search paths in which only the owner can create objects. pg_catalog is always first."""
OURS = """
    SELECT oid, oid::regprocedure::text AS name, proname, prosecdef,
           prorettype = 'trigger'::regtype AS is_trigger,
           proowner::regrole::text AS owner, coalesce(proconfig, '{}') AS config,
           EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner)))
                    WHERE grantee = 0) AS is_public
      FROM pg_proc
     WHERE pronamespace = 'public'::regnamespace
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass
                          AND objid = pg_proc.oid AND deptype = 'e')
"""


async def test_every_function_with_its_owners_rights_is_closed_and_looks_names_up_safely(
    setup: DatabaseSetup,
) -> None:
    functions = [row for row in await setup.sql(OURS) if row["prosecdef"]]
    assert len(functions) >= 4
    owner = await setup.value(
        "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'public.pricing'::regclass"
    )
    assert [row["name"] for row in functions if row["is_public"]] == []
    assert [row["name"] for row in functions if row["owner"] != owner] == []
    assert [row["name"] for row in functions if not SAFE_PATHS & set(row["config"])] == []


async def test_every_trigger_function_is_closed_and_looks_names_up_safely(
    setup: DatabaseSetup,
) -> None:
    functions = [row for row in await setup.sql(OURS) if row["is_trigger"]]
    assert len(functions) >= 10
    assert [row["name"] for row in functions if row["is_public"]] == []
    assert [row["name"] for row in functions if not SAFE_PATHS & set(row["config"])] == []


async def test_a_trigger_function_with_its_owners_rights_serves_its_own_table_alone(
    setup: DatabaseSetup, subtests: pytest.Subtests
) -> None:
    functions = [row for row in await setup.sql(OURS) if row["prosecdef"] and row["is_trigger"]]
    assert len(functions) >= 3
    for row in functions:
        with subtests.test(row["name"]):
            # The owner may create a trigger with it, but it refuses another table.
            await setup.sql("CREATE TABLE other (LIKE pricing)")
            await setup.sql(
                "CREATE TRIGGER x BEFORE INSERT OR UPDATE ON other FOR EACH ROW"
                f" EXECUTE FUNCTION {row['name']}"
            )
            refusal = await setup.refuses("INSERT INTO other SELECT * FROM pricing")
            assert "is a trigger of" in str(refusal)
            await setup.sql("DROP TABLE other")


async def test_functions_of_later_migrations_are_executable_by_no_role_until_granted(
    setup: DatabaseSetup,
) -> None:
    await setup.sql("CREATE FUNCTION darkroom_later() RETURNS int LANGUAGE sql RETURN 1")
    rows = await setup.sql(f"{OURS} AND proname = 'darkroom_later'")
    assert [row["is_public"] for row in rows] == [False]


async def test_public_may_create_neither_temporary_tables_nor_objects_in_public(
    empty_database_url: str,
) -> None:
    async with connected(empty_database_url) as owner:
        # As in databases that were created before Postgres 15.
        await owner.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    await migrate(empty_database_url)
    async with (
        login(empty_database_url) as stranger,
        connected(with_user(empty_database_url, stranger)) as connection,
    ):
        for statement in (
            TABLE,
            "SELECT 1 INTO TEMP t",
            "CREATE TABLE public.mine (id int)",
            "CREATE FUNCTION public.darkroom_mine() RETURNS int LANGUAGE sql RETURN 1",
            "CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
            "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql RETURN 1",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def forge(connection: Connection, table: str) -> None:
    """Do everything that a forgery of a price version needs, in a table of the login."""
    await connection.execute(TABLE.replace("TEMP TABLE t", f"TABLE {table}"))
    row = "('gpt-4o-image', 'text-to-image', 1, 0, 0, {}, 'admin@shop')"
    await connection.execute(f"INSERT INTO {table} VALUES {row.format(1)}")
    await connection.execute(TRIGGER.replace("ON t ", f"ON {table} "))
    await connection.execute(f"DELETE FROM {table}")
    await connection.execute(f"INSERT INTO {table} VALUES {row.format(900_002)}")


@pytest.mark.parametrize("role", ["", ADMIN, SERVICE, READONLY])
async def test_no_login_forges_a_price_version_with_a_table_of_its_own(
    setup: DatabaseSetup, database_url: str, role: str
) -> None:
    before = await setup.snapshot()
    async with login(database_url, member_of=[role] if role else [], owns="evil") as name:
        # In this copied database PUBLIC may still create temporary tables.
        async with connected(with_user(database_url, name)) as connection:
            for table in ("evil.t", "pg_temp.t"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="darkroom_record"):
                    await forge(connection, table)
        assert await setup.snapshot() == before
    await setup.set_price(9)
    assert await setup.broken_invariants() == {}


INSERT = (
    "INSERT INTO pricing_history (id, model, task, quantity, credits, provider_credits, valid,"
    " changed_by)"
)


async def test_no_trigger_of_another_table_writes_history_whosever_it_is(
    setup: DatabaseSetup,
) -> None:
    await setup.database.pool.execute(
        """
        CREATE SCHEMA evil;
        CREATE TABLE evil.t (statement text);
        CREATE FUNCTION evil.write() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN EXECUTE NEW.statement; RETURN NULL; END $$;
        CREATE TRIGGER x AFTER INSERT ON evil.t FOR EACH ROW EXECUTE FUNCTION evil.write();
        """
    )
    for statement in (
        "UPDATE pricing_history SET valid = tstzrange(lower(valid), now()) WHERE id = 1",
        f"{INSERT} VALUES (900002, 'new', 'text-to-image', 1, 0, 0, '[2001-01-01,)', 'me')",
        f"{INSERT} SELECT 900002, model, 'x', quantity, 0, 0, '[2001-01-01,)', 'me' FROM pricing",
    ):
        refusal = await setup.refuses("INSERT INTO evil.t VALUES ($1)", statement)
        assert "pricing_history is append-only" in str(refusal)
    # The same at the depth of the real trigger, by the login that owns the tables.
    await setup.set_price(9)
    assert await setup.broken_invariants() == {}


async def test_a_login_without_rights_calls_no_function_with_owner_rights(
    setup: DatabaseSetup, database_url: str
) -> None:
    functions = [row for row in await setup.sql(OURS) if row["prosecdef"] and not row["is_trigger"]]
    assert functions
    names = [row["name"] for row in functions] + ["darkroom_rebuild_price_history(text)"]
    async with login(database_url) as name:
        for function in names:
            assert not await setup.value(
                "SELECT has_function_privilege($1, $2, 'EXECUTE')", name, function
            ), function
        async with connected(with_user(database_url, name)) as connection:
            for call in (
                "SELECT grant_credits('acme', 1, 'a gift')",
                "SELECT darkroom_rebuild_price_history('a whim')",
                "SELECT public.darkroom_guard_price_in_use()",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(call)


HOSTILE_NAMES = """
    CREATE FUNCTION evil.nextval(regclass) RETURNS bigint LANGUAGE sql RETURN 900002::bigint;
    CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE sql RETURN 'boss';
    CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql
        RETURN '2001-01-01'::timestamptz;
    CREATE FUNCTION evil.same(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql RETURN true;
    CREATE OPERATOR evil.= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.same);
    CREATE FUNCTION evil.at_least(numeric, numeric) RETURNS boolean LANGUAGE sql RETURN true;
    CREATE OPERATOR evil.>= (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = evil.at_least);
    SET search_path = evil, pg_catalog, public
"""


async def test_names_that_an_admin_makes_are_not_those_that_our_triggers_mean(
    setup: DatabaseSetup, database_url: str
) -> None:
    await setup.sql(
        "INSERT INTO api_keys (id, prefix, secret_sha256, role, revoked_at) VALUES"
        " (gen_random_uuid(), 'dk_AAAAAAAAAAAA', sha256('x'), 'admin', now())"
    )
    async with (
        login(database_url, member_of=[ADMIN], owns="evil") as name,
        connected(with_user(database_url, name)) as connection,
    ):
        for statement in HOSTILE_NAMES.split(";"):
            await connection.execute(statement)
        assert await connection.fetchval("SELECT nextval('pricing_history_id_seq')") == 900_002
        assert await connection.fetchval("SELECT now() = now() - interval '1 day'")
        await connection.execute("UPDATE public.pricing SET credits = 9 WHERE quantity = 2")
        with pytest.raises(asyncpg.PostgresError, match="must be a number from 0 to 1000000"):
            await connection.execute("UPDATE public.pricing SET credits = -9")
        with pytest.raises(asyncpg.PostgresError, match="permission denied for table api_keys"):
            await connection.execute("UPDATE public.api_keys SET revoked_at = NULL")
    newest = (await setup.billing.price_history(1))[0]
    assert (newest["changed_by"], newest["valid_from"].year > 2001) == (name, True)
    assert newest["id"] < 900_002
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize("role", ["", ADMIN, READONLY])
async def test_the_author_of_a_price_is_the_login_whatever_it_claims(
    setup: DatabaseSetup, database_url: str, role: str
) -> None:
    async with login(database_url, member_of=[role] if role else []) as name:
        if role != ADMIN:
            await setup.sql(f"GRANT SELECT, UPDATE ON pricing TO {name}")
        async with connected(with_user(database_url, name)) as connection:
            await connection.execute("SELECT set_config('darkroom.actor', 'the boss', false)")
            await connection.execute("SELECT set_config('darkroom.reason', 'said so', false)")
            await connection.execute("UPDATE pricing SET credits = 9 WHERE quantity = 2")
        newest = (await setup.billing.price_history(1))[0]
        assert (newest["changed_by"], newest["reason"]) == (name, "said so")


async def test_our_services_name_the_person_for_whom_they_act(
    setup: DatabaseSetup, database_url: str
) -> None:
    async with login(database_url, member_of=[SERVICE]) as name:
        await setup.sql(f"GRANT SELECT, UPDATE ON pricing TO {name}")
        async with connected(with_user(database_url, name)) as connection:
            await connection.execute("SELECT set_config('darkroom.actor', 'api:dk_1', false)")
            await connection.execute("UPDATE pricing SET credits = 9 WHERE quantity = 2")
        assert (await setup.billing.price_history(1))[0]["changed_by"] == "api:dk_1"
