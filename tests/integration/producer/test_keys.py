"""API keys are stored hashed, compared in constant time, and revoked within a second."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from producer.billing import Billing
from producer.keys.key_format import hash_key, make_key, prefix_of
from producer.keys.key_store import Caller, KeyStore
from producer.keys.roles import Role
from shared.adapters.postgres.database import Database
from shared.errors import (
    AccountNotFound,
    InvalidRequest,
    KeyNotFound,
    KeyRefused,
    PostgresDown,
)

NOBODY = "00000000-0000-7000-8000-000000000000"


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Watched(Database):
    """A database that counts queries, and may be down."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        super().__init__(database.pool)
        self._hands = clock
        self.asked: Counter[str] = Counter()
        self.is_away = False
        self.answer_takes_seconds = 0.0

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        self._count(query)
        return await super().fetch(query, *args)

    async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
        self._count(query)
        row = await super().fetch_row(query, *args)
        self._hands.seconds += self.answer_takes_seconds
        return row

    def _count(self, query: str) -> None:
        self.asked[query] += 1
        if self.is_away:
            raise PostgresDown("Postgres does not answer: it is away")


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the rings under test."""
    return ManualClock()


@pytest.fixture
async def watched(database: Database, clock: ManualClock) -> Watched:
    """This test's database, with the accounts `acme` and `other`."""
    for name in ("acme", "other"):
        await Billing(database).create_account(name)
    return Watched(database, clock)


@pytest.fixture
def key_store(watched: Watched, clock: ManualClock) -> KeyStore:
    """The keys as one process of the API knows them."""
    return KeyStore(watched, clock)


@pytest.fixture
def elsewhere(watched: Watched, database: Database, clock: ManualClock) -> KeyStore:
    """The same keys as another process knows them, which is not counted."""
    del watched
    return KeyStore(database, clock)


async def reason_for(key_store: KeyStore, text: str) -> str:
    with pytest.raises(KeyRefused) as caught:
        await key_store.authenticate(text)
    assert text not in str(caught.value)
    return caught.value.reason


async def last_used(key_store: KeyStore) -> datetime | None:
    [key] = await key_store.list()
    return key.last_used_at


# --- creating ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "account_id"),
    [("service", "acme"), ("viewer", None), ("operator", None), ("admin", None)],
)
async def test_a_key_is_made_and_recognised(
    key_store: KeyStore, role: str, account_id: str | None
) -> None:
    key, text = await key_store.create(role, account_id, "the checkout", actor="maria")
    assert (key.role, key.account_id, key.name) == (role, account_id, "the checkout")
    assert (key.created_by, key.last_used_at, key.revoked_at) == ("maria", None, None)
    assert type(key.id) is UUID
    assert prefix_of(text) == key.prefix
    assert await key_store.authenticate(text) == Caller(Role(role), account_id, key.prefix)


async def test_without_an_actor_the_session_is_named(
    key_store: KeyStore, database: Database
) -> None:
    key, _ = await key_store.create(Role.ADMIN)
    assert key.created_by == await database.pool.fetchval("SELECT session_user")


@pytest.mark.promise("A key is shown once, and only its hash is stored")
async def test_no_column_holds_the_key_and_nobody_is_shown_it_again(
    key_store: KeyStore, database: Database
) -> None:
    key, text = await key_store.create(Role.SERVICE, "acme", "the checkout")
    secret = text.rpartition("_")[2]
    [row] = await database.pool.fetch("SELECT *, api_keys::text AS whole FROM api_keys")
    assert row["secret_sha256"] == hashlib.sha256(text.encode()).digest()
    for form in (secret, secret.encode().hex(), hashlib.sha256(secret.encode()).hexdigest()):
        assert form not in row["whole"]
    shown = [key, *await key_store.list(), await key_store.revoke(key.prefix)]
    assert len(shown) == 3
    assert secret not in repr(shown)
    assert "sha256" not in repr(shown)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("service", None), ["account_id: a service key is for one account: say which"]),
        (("operator", "acme"), ["account_id: the role operator is for all accounts: only"]),
        (("admin", "acme"), ["account_id: the role admin is for all accounts: only"]),
        (("king", None), ["role: 'king' must be one of service, viewer, operator, admin"]),
        (("service", "a b"), ["account_id: 'a b' must be 1 to 200 printable characters"]),
        (("service", "a\x00"), ["account_id: "]),
        (("admin", None, ""), ["name: must be 1 to 200 printable characters"]),
        (("admin", None, " "), ["name: "]),
        (("admin", None, "a\x00b"), ["name: "]),
        (("admin", None, "\ud800"), ["name: "]),
        (("admin", None, "x" * 201), ["name: "]),
        (("king", "a b", ""), ["role: ", "account_id: ", "name: "]),
    ],
)
async def test_every_fault_is_reported_with_its_field_and_nothing_is_stored(
    key_store: KeyStore, given: tuple[Any, ...], told: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await key_store.create(*given)
    faults = [str(fault) for fault in caught.value.faults]
    assert [fault[: len(start)] for fault, start in zip(faults, told, strict=True)] == told
    assert not await key_store.has_any_key()


async def test_a_key_for_an_account_that_does_not_exist_is_refused(key_store: KeyStore) -> None:
    with pytest.raises(AccountNotFound):
        await key_store.create(Role.SERVICE, "nobody")
    assert await key_store.list() == []


# --- recognising ------------------------------------------------------------------------------


async def test_what_is_malformed_is_refused_without_a_question(
    key_store: KeyStore, watched: Watched
) -> None:
    _, text = await key_store.create(Role.ADMIN)
    for wrong in ("", "dk_", text[:-1], f"{text}x", f" {text}", f"{text}\n", "\ud800", "x" * 99):
        with pytest.raises(KeyRefused) as caught:
            await key_store.authenticate(wrong)
        assert caught.value.reason == "malformed"
    assert watched.asked["find_key"] == 0


async def test_an_unknown_a_wrong_and_a_revoked_key_are_distinguished(key_store: KeyStore) -> None:
    key, text = await key_store.create(Role.ADMIN)
    assert await reason_for(key_store, make_key()[1]) == "unknown"
    wrong = f"{key.prefix}_{make_key()[1].rpartition('_')[2]}"
    assert await reason_for(key_store, wrong) == "unknown"
    await key_store.revoke(key.prefix)
    assert await reason_for(key_store, text) == "revoked"
    # A caller that has only its prefix does not learn that it was revoked.
    again = f"{key.prefix}_{make_key()[1].rpartition('_')[2]}"
    assert await reason_for(key_store, again) == "unknown"


async def test_hashes_are_compared_in_constant_time_even_where_the_prefix_is_unknown(
    key_store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[Any, Any]] = []
    compare = hmac.compare_digest

    def compare_and_note(stored: Any, presented: Any) -> bool:
        compared.append((stored, presented))
        return compare(stored, presented)

    _, text = await key_store.create(Role.ADMIN)
    stranger = make_key()[1]
    monkeypatch.setattr("hmac.compare_digest", compare_and_note)
    await key_store.authenticate(text)
    assert await reason_for(key_store, stranger) == "unknown"
    assert [presented for _, presented in compared] == [hash_key(text), hash_key(stranger)]
    assert [len(stored) for stored, _ in compared] == [32, 32]
    assert compared[1][0] != hash_key(text)


# --- remembering ------------------------------------------------------------------------------


@pytest.mark.promise("`darkroom keys revoke` ends one within a second")
async def test_a_revocation_elsewhere_holds_here_within_a_second(
    key_store: KeyStore, elsewhere: KeyStore, clock: ManualClock
) -> None:
    key, text = await key_store.create(Role.ADMIN)
    caller = await key_store.authenticate(text)
    await elsewhere.revoke(key.prefix)
    clock.seconds += 0.999
    assert await key_store.authenticate(text) == caller
    clock.seconds += 0.001
    assert await reason_for(key_store, text) == "revoked"


async def test_a_revocation_here_holds_here_at_once(key_store: KeyStore) -> None:
    key, text = await key_store.create(Role.ADMIN)
    await key_store.authenticate(text)
    await key_store.revoke(key.prefix)
    assert await reason_for(key_store, text) == "revoked"


async def test_the_second_starts_when_the_query_is_sent_not_when_it_is_answered(
    key_store: KeyStore, elsewhere: KeyStore, watched: Watched, clock: ManualClock
) -> None:
    key, text = await key_store.create(Role.ADMIN)
    watched.answer_takes_seconds = 0.9
    await key_store.authenticate(text)
    await elsewhere.revoke(key.prefix)
    clock.seconds += 0.1
    assert await reason_for(key_store, text) == "revoked"


@pytest.mark.parametrize("fate", ["good", "revoked", "unknown"])
async def test_a_busy_key_costs_one_question_a_second(
    key_store: KeyStore, watched: Watched, clock: ManualClock, fate: str
) -> None:
    key, text = await key_store.create(Role.ADMIN)
    if fate == "revoked":
        await key_store.revoke(key.prefix)
    presented = make_key()[1] if fate == "unknown" else text
    for seconds in range(1, 4):
        for _ in range(50):
            if fate == "good":
                await key_store.authenticate(presented)
            else:
                assert await reason_for(key_store, presented) == fate
        assert watched.asked["find_key"] == seconds
        clock.seconds += 1


async def test_made_up_keys_fill_no_memory_and_drive_out_no_real_one(
    watched: Watched, clock: ManualClock
) -> None:
    key_store = KeyStore(watched, clock, max_cached_keys=3)
    _, text = await key_store.create(Role.ADMIN)
    await key_store.authenticate(text)
    strangers = [make_key()[1] for _ in range(10)]
    for stranger in strangers:
        await reason_for(key_store, stranger)
    assert watched.asked["find_key"] == 11
    await key_store.authenticate(text)
    for stranger in strangers[-3:]:
        await reason_for(key_store, stranger)
    assert watched.asked["find_key"] == 11
    await reason_for(key_store, strangers[0])
    assert watched.asked["find_key"] == 12


async def test_more_real_keys_than_are_remembered_are_still_recognised(
    watched: Watched, clock: ManualClock
) -> None:
    key_store = KeyStore(watched, clock, max_cached_keys=2)
    texts = [(await key_store.create(Role.SERVICE, "acme"))[1] for _ in range(4)]
    for text in [*texts, *texts]:
        assert (await key_store.authenticate(text)).key_prefix == prefix_of(text)
    assert watched.asked["find_key"] == 8


async def test_with_postgres_down_no_key_is_accepted_from_the_cache(
    key_store: KeyStore, watched: Watched, clock: ManualClock
) -> None:
    assert not await key_store.has_any_key()
    _, text = await KeyStore(watched, clock).create(Role.ADMIN)
    await key_store.authenticate(text)
    watched.is_away = True
    await key_store.authenticate(text)
    clock.seconds += 1
    with pytest.raises(PostgresDown):
        await key_store.authenticate(text)
    with pytest.raises(PostgresDown):
        await key_store.has_any_key()


# --- with and without keys --------------------------------------------------------------------


async def test_the_first_key_closes_every_api_within_a_second(
    key_store: KeyStore, elsewhere: KeyStore, watched: Watched, clock: ManualClock
) -> None:
    assert not await key_store.has_any_key()
    assert not await elsewhere.has_any_key()
    await elsewhere.create(Role.ADMIN)
    assert await elsewhere.has_any_key()
    clock.seconds += 0.999
    assert not await key_store.has_any_key()
    assert watched.asked["any_key_exists"] == 1
    clock.seconds += 0.001
    assert await key_store.has_any_key()
    clock.seconds += 3600
    assert await key_store.has_any_key()
    assert watched.asked["any_key_exists"] == 2


@pytest.mark.promise("The first key ends this permanently")
async def test_revoking_the_last_key_does_not_open_the_api(
    key_store: KeyStore, elsewhere: KeyStore, clock: ManualClock
) -> None:
    key, _ = await key_store.create(Role.ADMIN)
    await key_store.revoke(key.prefix)
    clock.seconds += 2
    assert await key_store.has_any_key()
    assert await elsewhere.has_any_key()


# --- listing and revoking ---------------------------------------------------------------------


async def test_keys_are_listed_with_those_that_hold_first_and_the_newest_before(
    key_store: KeyStore,
) -> None:
    made = [
        (await key_store.create(role, account))[0]
        for role, account in (("service", "acme"), ("service", "other"), ("admin", None))
    ]
    revoked = await key_store.revoke(made[2].prefix)
    assert await key_store.list() == [made[1], made[0], revoked]
    assert await key_store.list("acme") == [made[0]]
    await key_store.revoke(made[0].prefix)
    assert [key.id for key in await key_store.list("acme")] == [made[0].id]


async def test_the_list_of_an_account_that_does_not_exist_is_refused(
    key_store: KeyStore,
) -> None:
    assert await key_store.list("acme") == []
    with pytest.raises(AccountNotFound):
        await key_store.list("nobody")


async def test_a_key_is_revoked_by_prefix_id_or_all_of_it_and_only_once(
    key_store: KeyStore,
) -> None:
    for pick in (0, 1, 2):
        key, text = await key_store.create(Role.ADMIN)
        names = [key.prefix, str(key.id), text]
        first = await key_store.revoke(names[pick])
        assert (first.id, first.revoked_at is not None) == (key.id, True)
        assert [await key_store.revoke(name) for name in names] == [first] * 3


async def test_a_key_that_does_not_exist_is_not_found(key_store: KeyStore) -> None:
    key, text = await key_store.create(Role.ADMIN)
    prefix, stranger = make_key()
    for name in ("", prefix, stranger, NOBODY, "nonsense", "\x00", text[:-1], f"{text}x"):
        with pytest.raises(KeyNotFound) as caught:
            await key_store.revoke(name)
        assert len(caught.value.name) <= len(NOBODY)
        assert text[20:] not in str(caught.value)
    assert await key_store.list() == [key]


# --- the last use -----------------------------------------------------------------------------


async def test_uses_are_written_together_and_never_while_a_request_waits(
    key_store: KeyStore, watched: Watched, clock: ManualClock
) -> None:
    texts = [(await key_store.create(Role.ADMIN))[1] for _ in range(3)]
    for text in texts[:2] * 20:
        await key_store.authenticate(text)
    await reason_for(key_store, make_key()[1])
    assert {key.last_used_at for key in await key_store.list()} == {None}
    clock.seconds += 90
    assert await key_store.write_last_used() == 2
    assert watched.asked["note_key_uses"] == 1
    noted = {key.prefix: key.last_used_at for key in await key_store.list()}
    assert noted[prefix_of(texts[2]) or ""] is None
    for text in texts[:2]:
        used_at = noted[prefix_of(text) or ""]
        assert used_at is not None
        age = datetime.now(UTC) - used_at
        assert timedelta(seconds=89) < age < timedelta(seconds=150)
    assert await key_store.write_last_used() == 0
    assert watched.asked["note_key_uses"] == 1


async def test_the_last_use_moves_at_most_once_a_minute_whichever_process_writes_it(
    key_store: KeyStore, elsewhere: KeyStore, database: Database
) -> None:
    _, text = await key_store.create(Role.ADMIN)
    assert await key_store.authenticate(text) == await elsewhere.authenticate(text)
    assert (await key_store.write_last_used(), await elsewhere.write_last_used()) == (1, 0)
    first = await last_used(key_store)
    await key_store.authenticate(text)
    assert await key_store.write_last_used() == 0
    assert await last_used(key_store) == first
    await database.pool.execute("UPDATE api_keys SET last_used_at = now() - interval '61 s'")
    await key_store.authenticate(text)
    assert await key_store.write_last_used() == 1
    moved = await last_used(key_store)
    assert first is not None
    assert moved is not None
    assert moved > first


async def test_uses_outlive_an_outage(
    key_store: KeyStore, watched: Watched, clock: ManualClock
) -> None:
    for _ in range(2):
        _, text = await key_store.create(Role.ADMIN)
        await key_store.authenticate(text)
    watched.is_away = True
    with pytest.raises(PostgresDown):
        await key_store.write_last_used()
    clock.seconds += 5
    watched.is_away = False
    await key_store.authenticate(text)
    assert await key_store.write_last_used() == 2
