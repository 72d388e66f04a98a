"""The table of API keys: which rows, changes and readers it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from producer.billing import Billing
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.adapters.postgres.database import Database, connect_database
from shared.errors import DatabaseRefused, PostgresDown

SERVICE, ADMIN, READONLY = "darkroom_service", "darkroom_admin", "darkroom_readonly"


@pytest.fixture
async def key_store(database: Database) -> KeyStore:
    """The keys of this test's database, with the accounts `acme` and `other`."""
    for name in ("acme", "other"):
        await Billing(database).create_account(name)
    return KeyStore(database)


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("DELETE FROM api_keys", "DELETE on api_keys is refused. Revoke the key instead"),
        ("TRUNCATE api_keys", "TRUNCATE on api_keys is refused. Revoke the keys instead"),
        ("UPDATE api_keys SET id = gen_random_uuid()", "never changes. Revoke it"),
        ("UPDATE api_keys SET prefix = 'dk_aaaaaaaaaaaa'", "never changes"),
        ("UPDATE api_keys SET secret_sha256 = sha256('')", "never changes"),
        ("UPDATE api_keys SET role = 'admin', account_id = NULL", "never changes"),
        ("UPDATE api_keys SET account_id = 'other'", "never changes"),
        ("UPDATE api_keys SET created_at = now()", "never changes"),
        ("UPDATE api_keys SET created_by = 'me'", "never changes"),
        ("UPDATE api_keys SET revoked_at = NULL", "is revoked and stays so. Create another"),
        ("UPDATE api_keys SET revoked_at = now()", "is revoked and stays so"),
    ],
)
async def test_the_table_refuses_to_rewrite_what_was(
    key_store: KeyStore, database: Database, statement: str, sentence: str
) -> None:
    key, _ = await key_store.create(Role.SERVICE, "acme")
    revoked = await key_store.revoke(key.prefix)
    with pytest.raises(DatabaseRefused) as caught:
        await run(database, statement)
    assert sentence in str(caught.value)
    assert caught.value.sqlstate == "DR001"
    assert await key_store.list() == [revoked]


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"prefix": "'dk_short'"}, "prefix_must_be_dk_and_12_letters_or_digits"),
        ({"prefix": "(SELECT prefix FROM api_keys)"}, "prefix_must_be_unique"),
        ({"secret_sha256": "'a key'"}, "secret_sha256_must_be_32_bytes"),
        ({"role": "'king'", "account_id": "NULL"}, "role_must_be_service_viewer_operator_or_admin"),
        ({"account_id": "NULL"}, "a_service_key_has_an_account_and_no_other_has"),
        ({"role": "'admin'"}, "a_service_key_has_an_account_and_no_other_has"),
        ({"account_id": "'nobody'"}, "the_account_of_a_key_must_exist"),
        ({"name": "''"}, "name_must_be_1_to_200_printable_characters"),
        ({"name": "E'a\\nb'"}, "name_must_be_1_to_200_printable_characters"),
    ],
    ids=str,
)
async def test_the_table_refuses_a_row_that_is_no_key(
    key_store: KeyStore, database: Database, changes: dict[str, str], constraint: str
) -> None:
    await key_store.create(Role.ADMIN)
    values = {
        "id": "gen_random_uuid()",
        "prefix": "'dk_bbbbbbbbbbbb'",
        "secret_sha256": "sha256('x')",
        "role": "'service'",
        "account_id": "'acme'",
        "name": "NULL",
    }
    insert = "INSERT INTO api_keys ({}) VALUES ({})"
    wrong = {**values, **changes}
    with pytest.raises(DatabaseRefused) as caught:
        await run(database, insert.format(", ".join(wrong), ", ".join(wrong.values())))
    assert caught.value.constraint == constraint
    await run(database, insert.format(", ".join(values), ", ".join(values.values())))
    assert len(await key_store.list()) == 2


async def run(database: Database, statement: str) -> None:
    """Run a statement as an admin, with errors of this project."""
    async with database.transaction() as queries:
        await queries.connection.execute(statement)


# --- roles ------------------------------------------------------------------------------------


@asynccontextmanager
async def database_of(role: str, url: str) -> AsyncIterator[Database]:
    async with connect_database(f"{url}{'&' if '?' in url else '?'}role={role}") as database:
        yield database


FORBIDDEN = {
    SERVICE: (
        "INSERT INTO api_keys (id, prefix) VALUES (gen_random_uuid(), 'dk_aaaaaaaaaaaa')",
        "UPDATE api_keys SET revoked_at = now()",
        "UPDATE api_keys SET role = 'admin', account_id = NULL",
        "DELETE FROM api_keys",
        "TRUNCATE api_keys",
    ),
    ADMIN: (
        "SELECT secret_sha256 FROM api_keys",
        "SELECT * FROM api_keys",
        "SELECT api_keys::text FROM api_keys",
        "UPDATE api_keys SET secret_sha256 = sha256('')",
        "UPDATE api_keys SET role = 'admin', account_id = NULL",
        "UPDATE api_keys SET revoked_at = now() WHERE secret_sha256 = sha256('')",
        "DELETE FROM api_keys",
        "TRUNCATE api_keys",
    ),
    READONLY: (
        "SELECT secret_sha256 FROM api_keys",
        "SELECT * FROM api_keys",
        "SELECT api_keys::text FROM api_keys",
        "SELECT count(*) FROM api_keys WHERE secret_sha256 > sha256('')",
        "UPDATE api_keys SET revoked_at = now()",
        "INSERT INTO api_keys (id, prefix) VALUES (gen_random_uuid(), 'dk_aaaaaaaaaaaa')",
        "DELETE FROM api_keys",
    ),
}


@pytest.mark.parametrize("role", FORBIDDEN)
async def test_a_role_is_refused_whatever_is_not_its_work(
    key_store: KeyStore, database_url: str, role: str
) -> None:
    key, _ = await key_store.create(Role.SERVICE, "acme")
    async with database_of(role, database_url) as database:
        for statement in FORBIDDEN[role]:
            with pytest.raises(PostgresDown, match="permission denied"):
                await run(database, statement)
    assert await key_store.list() == [key]


async def test_each_role_does_its_own_work(key_store: KeyStore, database_url: str) -> None:
    async with database_of(ADMIN, database_url) as database:
        key, text = await KeyStore(database).create(Role.SERVICE, "acme", "made by an admin")
        revocable, _ = await KeyStore(database).create(Role.ADMIN)
        assert (await KeyStore(database).revoke(revocable.prefix)).revoked_at
    async with database_of(SERVICE, database_url) as database:
        service = KeyStore(database)
        assert await service.has_any_key()
        assert (await service.authenticate(text)).account_id == "acme"
        assert await service.write_last_used() == 1
    async with database_of(READONLY, database_url) as database:
        seen = list(await KeyStore(database).list())
    assert seen == await key_store.list()
    assert seen[0].id == key.id
    assert seen[0].last_used_at is not None
