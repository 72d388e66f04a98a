"""PostgreSQL as the system has it: TLS of every kind, passwords that rotate, few connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from producer.billing import Billing
from shared.adapters.postgres.database import connect_database
from shared.adapters.postgres.migrations import migrate
from shared.errors import DatabaseUrlRefused, PostgresDown
from shared.settings import Settings
from tests.deployments.postgresql import (
    CERTIFIED_LOGIN,
    PASSWORD,
    PlainPostgres,
    running_postgres,
)
from tests.support.deployment import Deployment
from tests.support.tls_server import (
    CA_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
    OTHER_CA_FILE,
)

_USES_TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
_ORDER = {
    "account_id": "acme",
    "model": "gpt-4o-image",
    "task": "text-to-image",
    "prompt": "a lighthouse",
    "aspect_ratio": "3:2",
}


@pytest.fixture(scope="module")
def encrypted() -> Iterator[PlainPostgres]:
    """A server with TLS, whose certificate was issued for `localhost`."""
    with running_postgres(has_tls=True) as server:
        yield server


@pytest.fixture(scope="module")
def plain() -> Iterator[PlainPostgres]:
    """A server without TLS that allows 20 connections."""
    with running_postgres("max_connections=20") as server:
        yield server


async def uses_tls(url: str) -> bool:
    async with connect_database(url, connections=1) as database:
        return bool(await database.pool.fetchval(_USES_TLS))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", True),
        ("sslmode=disable", False),
        ("sslmode=allow", False),
        ("sslmode=prefer", True),
        ("sslmode=require&channel_binding=require", True),
        (f"sslmode=require&sslrootcert={CA_FILE}", True),
        (f"sslmode=verify-ca&sslrootcert={CA_FILE}", True),
        (f"sslmode=verify-full&sslrootcert={CA_FILE}&ssl_min_protocol_version=TLSv1.3", True),
        ("ssl=true", True),
    ],
)
async def test_each_mode_of_tls_does_what_it_says(
    encrypted: PlainPostgres, query: str, *, expected: bool
) -> None:
    assert await uses_tls(encrypted.url(query=query)) is expected


@pytest.mark.parametrize(
    ("host", "query"),
    [
        ("127.0.0.1", f"sslmode=verify-full&sslrootcert={CA_FILE}"),
        ("localhost", f"sslmode=verify-full&sslrootcert={OTHER_CA_FILE}"),
        ("localhost", f"sslmode=require&sslrootcert={OTHER_CA_FILE}"),
        ("localhost", "sslrootcert=system"),
    ],
)
async def test_a_certificate_that_does_not_fit_is_refused_as_that(
    encrypted: PlainPostgres, host: str, query: str
) -> None:
    with pytest.raises(DatabaseUrlRefused, match="certificate of Postgres is not accepted"):
        await uses_tls(encrypted.url(host=host, query=query))


async def test_a_server_without_tls_is_named_where_the_url_asks_for_it(
    plain: PlainPostgres,
) -> None:
    with pytest.raises(DatabaseUrlRefused, match="has no TLS"):
        await uses_tls(plain.url(query="sslmode=require"))
    assert await uses_tls(plain.url(query="sslmode=prefer")) is False


async def test_a_server_that_wants_tls_is_named_where_the_url_forbids_it(
    encrypted: PlainPostgres,
) -> None:
    url = encrypted.url(login=CERTIFIED_LOGIN, host="127.0.0.1", query="sslmode=disable")
    with pytest.raises(DatabaseUrlRefused, match="sslmode=disable forbids that"):
        await uses_tls(url)


async def test_a_parameter_that_the_server_refuses_is_named(plain: PlainPostgres) -> None:
    for query in ("options=-c%20work_men%3D4MB", "statement_timeout=soon"):
        with pytest.raises(DatabaseUrlRefused, match=r"work_men|statement_timeout"):
            await uses_tls(plain.url(query=query))


async def test_a_password_that_rotates_is_read_from_its_file_without_a_restart(
    plain: PlainPostgres, tmp_path: Path
) -> None:
    def write(password: str) -> None:
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        file.write_text(f"# rotated\nother:*:*:*:x\nlocalhost:*:app:app:{escaped}\n")
        file.chmod(0o600)

    file = tmp_path / "passwords"
    write(PASSWORD)
    url = plain.url(login="app", query=f"passfile={file}")
    async with connect_database(url, connections=2) as database:
        await database.ping()
        plain.run_sql("ALTER ROLE app PASSWORD 'a:new\\one'")
        try:
            await database.pool.expire_connections()
            with pytest.raises(PostgresDown, match="password authentication failed"):
                await database.ping()
            write("a:new\\one")
            await database.ping()
        finally:
            plain.run_sql(f"ALTER ROLE app PASSWORD '{PASSWORD}'")


async def test_two_apis_and_three_workers_need_no_more_than_20_connections(
    plain: PlainPostgres, settings: Settings
) -> None:
    changed = settings.model_copy(
        update={
            "database_url": SecretStr(plain.url()),
            "worker_database_connections": 2,
            "api_database_connections": 3,
        }
    )
    await migrate(plain.url())
    async with connect_database(plain.url(), connections=1) as database:
        billing = Billing(database)
        await billing.create_account("acme")
        await billing.grant("acme", Decimal(1_000), "for the test")
    system = Deployment(changed, None, None, None)  # type: ignore[arg-type]
    async with AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(system.api()) for _ in range(2)]
        for _ in range(3):
            await stack.enter_async_context(system.worker())
        placed = [apis[n % 2].post("/v1/jobs", {**_ORDER, "prompt": f"{n}"}) for n in range(30)]
        jobs = [answer.expect(202) for answer in await asyncio.gather(*placed)]
        waits = [apis[n % 2].get(f"/v1/jobs/{job['id']}", wait=40) for n, job in enumerate(jobs)]
        ended = [answer.expect(200)["state"] for answer in await asyncio.gather(*waits)]
    assert ended == ["succeeded"] * 30


async def test_a_client_certificate_is_shown_to_the_server(encrypted: PlainPostgres) -> None:
    shown = f"sslmode=require&sslcert={CERTIFICATE_FILE}&sslkey={KEY_FILE}"
    assert await uses_tls(encrypted.url(login=CERTIFIED_LOGIN, query=shown))
    with pytest.raises(PostgresDown, match="client certificate"):
        await uses_tls(encrypted.url(login=CERTIFIED_LOGIN, query="sslmode=require"))
    with pytest.raises(DatabaseUrlRefused, match=r"sslcert: .* cannot be used"):
        await uses_tls(encrypted.url(query=f"sslcert={CA_FILE}&sslkey={KEY_FILE}"))
