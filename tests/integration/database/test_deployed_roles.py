"""The files of `deploy/` and Compose in use: logins by psql, an ordinary owner, Valkey."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import yaml
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.adapters.embedded.servers.server_programs import (
    SearchPaths,
    find_postgres,
    find_valkey,
)
from shared.adapters.postgres.database import connect_database
from shared.adapters.postgres.migrations import migrate, require_current_schema
from shared.domain.lifecycle import JobState
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.database_logins import connected, with_user
from tests.support.deployment import eventually

ROOT = Path(__file__).parents[3]
PLACES = SearchPaths.from_environment(os.environ)
LOGINS = ("darkroom_api_login", "darkroom_worker_login", "darkroom_admin_login")
PASSWORD = "0123456789abcdef" * 3


async def psql(url: str, **passwords: str) -> tuple[int, str]:
    """Run `deploy/roles.sql` as the service `roles` does; return its exit code and errors."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    arguments = compose["services"]["roles"]["entrypoint"][1:]
    given = dict.fromkeys(("owner", "api", "worker", "admin"), PASSWORD) | passwords
    process = await asyncio.create_subprocess_exec(
        str(find_postgres(PLACES).path.with_name("psql")),
        *arguments,
        *("--file", str(ROOT / "deploy/roles.sql"), url),
        env={
            **os.environ,
            "PGOPTIONS": " ".join(f"-c darkroom.{k}_password={v}" for k, v in given.items()),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@pytest.fixture
async def deployed(empty_database_url: str) -> AsyncIterator[str]:
    """The URL of a database that has had `deploy/roles.sql`, and the migrations as its owner."""
    async with connected(empty_database_url) as superuser:
        try:
            assert await psql(empty_database_url) == (0, "")
            await migrate(with_user(empty_database_url, "darkroom_owner"))
            yield empty_database_url
        finally:
            name = urlsplit(empty_database_url).path.removeprefix("/")
            await superuser.execute(f"ALTER DATABASE {name} OWNER TO CURRENT_USER")
            roles = ", ".join((*LOGINS, "darkroom_owner"))
            await superuser.execute("REASSIGN OWNED BY darkroom_owner TO CURRENT_USER")
            await superuser.execute(f"DROP OWNED BY {roles}; DROP ROLE {roles}")
            await superuser.execute("REVOKE pg_read_all_stats FROM darkroom_api, darkroom_worker")


async def test_a_database_is_deployed_without_a_superuser_but_for_its_logins(
    deployed: str,
) -> None:
    async with connected(deployed) as superuser:
        rows = await superuser.fetch(
            "SELECT rolname, rolcanlogin, rolsuper OR rolcreaterole OR rolcreatedb AS is_more,"
            " rolpassword LIKE 'SCRAM-SHA-256$%' AS is_hashed FROM pg_authid"
            " WHERE rolname = ANY($1)",
            [*LOGINS, "darkroom_owner"],
        )
        assert len(rows) == 4
        assert {(row["rolcanlogin"], row["is_more"], row["is_hashed"]) for row in rows} == {
            (True, False, True)
        }
        owners = await superuser.fetch(
            "SELECT DISTINCT proowner::regrole::text AS owner FROM pg_proc"
            " WHERE pronamespace = 'public'::regnamespace AND prosecdef"
        )
        assert [row["owner"] for row in owners] == ["darkroom_owner"]
        for right in ("CONNECT", "TEMPORARY", "CREATE"):
            assert not await superuser.fetchval(
                "SELECT has_database_privilege('public', current_database(), $1)", right
            )
    # Repeated, as at every `docker compose up`.
    assert await psql(deployed) == (0, "")
    assert await migrate(with_user(deployed, "darkroom_owner")) == []


async def test_each_login_does_its_work_in_it(deployed: str) -> None:
    api, worker, admin = (with_user(deployed, name) for name in LOGINS)
    async with (
        connect_database(api) as of_api,
        connect_database(worker) as of_worker,
        connect_database(admin) as of_admin,
    ):
        await DatabaseSetup(of_admin).open_account("acme", 100)
        await DatabaseSetup(of_admin).set_price(9)
        job = await DatabaseSetup(of_api).enqueue()
        store = DatabaseSetup(of_worker)
        from_worker = await store.store.load(job.id)
        assert (from_worker.state, from_worker.credits_quoted) == (JobState.QUEUED, 9)
        assert await DatabaseSetup(of_api).broken_invariants() == {}
        for database in (of_api, of_worker):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await database.pool.execute("UPDATE accounts SET balance = 1000000")
    for url in (api, worker, admin):
        await require_current_schema(url)


async def test_an_invalid_password_is_refused_and_not_repeated(
    empty_database_url: str,
) -> None:
    code, said = await psql(empty_database_url, api="too-short")
    assert code != 0
    assert "darkroom.api_password must have at least 16 characters" in said
    assert "too-short" not in said
    async with connected(empty_database_url) as superuser:
        assert not await superuser.fetchval(
            "SELECT count(*) FROM pg_roles WHERE rolname = 'darkroom_owner'"
        )


def valkey_config() -> str:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    values: Mapping[str, str] = {"VALKEY_PASSWORD": PASSWORD}
    text: str = compose["configs"]["valkey"]["content"]
    for name, value in values.items():
        before, _, rest = text.partition(f"${{{name}:?")
        text = before + value + rest.partition("}")[2]
    return text


async def test_valkey_refuses_who_has_no_password(tmp_path: Path) -> None:
    socket, config = tmp_path / "v.sock", tmp_path / "valkey.conf"
    config.write_text(f"{valkey_config()}port 0\nunixsocket {socket}\ndir {tmp_path}\n")
    server = await asyncio.create_subprocess_exec(
        str(find_valkey(PLACES).path), str(config), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        client = Redis(unix_socket_path=str(socket), password=PASSWORD)

        async def answers() -> bool:
            try:
                return bool(await client.ping())
            except RedisError:
                return False

        await eventually(answers, "Valkey answers who has the password", 20)
        for setting, value in (("appendonly", "yes"), ("maxmemory-policy", "noeviction")):
            assert await client.config_get(setting) == {setting: value}
        await client.aclose()
        for password in (None, "another"):
            stranger = Redis(unix_socket_path=str(socket), password=password)
            with pytest.raises(RedisError, match=r"Authentication required|invalid username"):
                await stranger.get("x")
            await stranger.aclose()
    finally:
        server.terminate()
        await server.wait()
