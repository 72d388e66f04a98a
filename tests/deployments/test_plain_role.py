"""The PostgreSQL of the system, for a role that may do nothing but connect."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from producer import JobState, Producer
from shared.adapters.postgres.connections.session_settings import SessionSettings
from shared.adapters.postgres.database import connect_database
from shared.adapters.postgres.migrations import migrate, read_migrations, require_current_schema
from shared.adapters.postgres.missing_rights import list_missing_roles
from shared.settings import Settings
from tests.deployments.postgres import running_postgres
from tests.deployments.programs import open_folder
from tests.integration.database.test_missing_rights import statements
from tests.support.database_logins import connected
from tests.support.deployment import Deployment
from worker.simulator import Simulator

NUMBERS = [one.number for one in read_migrations()]
ROLES = ("api", "worker", "pricing", "billing", "readonly", "service", "admin")


@pytest.fixture
async def server() -> AsyncIterator[str]:
    with open_folder("postgres-") as folder, running_postgres(folder) as server:
        async with connected(f"postgresql://postgres@{server}/postgres") as superuser:
            await superuser.execute("CREATE ROLE plain LOGIN PASSWORD 'p'")
            await superuser.execute("CREATE DATABASE app")
        yield server


@pytest.mark.parametrize("schema", [None, "Dark-Room x"])
async def test_a_plain_role_lives_on_what_an_administrator_was_told_to_type(
    server: str, settings: Settings, simulator: Simulator, schema: str | None
) -> None:
    plain = f"postgresql://plain:p@{server}/app"
    async with connected(f"postgresql://postgres@{server}/app") as superuser:
        for statement in await statements(plain, schema):
            await superuser.execute(statement)
        assert [one.number for one in await migrate(plain, schema=schema)] == NUMBERS
        changed = settings.model_copy(
            update={"database_url": SecretStr(plain), "database_schema": schema}
        )
        async with (
            Producer.connect(changed) as producer,
            connect_database(plain) as database,
        ):
            deployment = Deployment(changed, producer, database, simulator)
            await deployment.open_account("acme", 100)
            async with deployment.worker():
                ended = await deployment.ended(await deployment.enqueue())
        assert ended.state is JobState.SUCCEEDED
        told = await list_missing_roles(plain, schema)
        assert told[: len(ROLES)] == [
            f"CREATE ROLE darkroom_{one} NOLOGIN;" for one in sorted(ROLES)
        ]
        await superuser.execute(" ".join(told))
        await migrate(plain, schema=schema)
        assert await list_missing_roles(plain, schema) == []
        await superuser.execute(
            "CREATE ROLE looks LOGIN PASSWORD 'p'; GRANT darkroom_admin TO looks"
        )
        path = f'"{schema}"' if schema else "public"
        await superuser.execute(f"ALTER ROLE looks SET search_path = {path}")
        await require_current_schema(f"postgresql://looks:p@{server}/app")


async def test_the_settings_of_sessions_exist_on_this_server(server: str) -> None:
    async with connected(f"postgresql://postgres@{server}/postgres") as connection:
        assert await SessionSettings().set_for_session(connection)
