"""API keys: their roles, creation, list, revocation and authentication."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from producer.actor import Actor, actor_to_json
from producer.keys.key_format import (
    EMPTY_HASH,
    hash_key,
    make_key,
    parse_key_name,
    prefix_of,
    redact_key,
)
from producer.keys.roles import Role
from producer.orders.order_fields import find_order_faults
from shared.adapters.postgres.database import Database
from shared.errors import (
    AccountNotFound,
    DatabaseRefused,
    Fault,
    InvalidRequest,
    KeyNotFound,
    KeyRefused,
)
from shared.key_refusals import KeyRefusal

KEY_CACHE_SECONDS = 1.0
"""How long a process caches the check of a key. Every process refuses a revoked key within it."""
LAST_USED_STEP_SECONDS = 60.0
"""The shortest time between two updates of `last_used_at` of one key, by all processes."""
NAME_LENGTH = 200

_ACCOUNT_CONSTRAINT = "the_account_of_a_key_must_exist"
MAX_CACHED_KEYS = 1024


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key, without its secret."""

    id: UUID
    prefix: str
    """The first characters of the key, which are not secret."""
    role: Role
    account_id: str | None
    """The account of a service key. None for the other roles."""
    name: str | None
    """What the key is for, as its creator wrote it."""
    created_at: datetime
    created_by: str
    last_used_at: datetime | None
    """The last use, accurate to a minute or two. None if the key was never used."""
    revoked_at: datetime | None
    """When the key was revoked. None if it is valid."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller of a request."""

    role: Role
    account_id: str | None
    """The account of a service key. None for the other roles."""
    key_prefix: str | None
    """The prefix of the key. None if the request needs no key."""


LOCAL_ADMIN = Caller(Role.ADMIN, None, None)
"""The caller of every request while no key exists. The API then listens on loopback only."""

_KeyCheck = Caller | KeyRefusal


class KeyStore:
    """The API keys of a database, with a cache. Every method may raise `PostgresDown`.

    Cached checks are at most `KEY_CACHE_SECONDS` old, by `clock`, which returns seconds and never
    goes back. At most `max_cached_keys` known keys and as many unknown keys are cached.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_cached_keys: int = MAX_CACHED_KEYS,
    ) -> None:
        self._database = database
        self._clock = clock
        # Two caches, so that invented keys do not displace real ones.
        self._known = _KeyCache(max_cached_keys)
        self._unknown = _KeyCache(max_cached_keys)
        self._last_used: dict[str, float] = {}
        self._is_configured = False
        self._configured_asked_at = -math.inf

    async def create(
        self,
        role: Role | str,
        account_id: str | None = None,
        name: str | None = None,
        *,
        actor: Actor | str | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key, and return it with its text. The text cannot be read again later.

        Without `actor`, the login of the database session is the creator. Raises `InvalidRequest`
        with every fault, and `AccountNotFound`, each with nothing stored. Service keys need an
        account; keys of other roles must not have one.
        """
        faults = _find_key_faults(role, account_id, name)
        if faults:
            raise InvalidRequest(faults)
        prefix, text = make_key()
        values = (UUID(int=uuid7().int), prefix, hash_key(text), role, account_id, name)
        try:
            row = await self._database.fetch_row("create_key", *values, actor_to_json(actor))
        except DatabaseRefused as error:
            if error.constraint == _ACCOUNT_CONSTRAINT:
                raise AccountNotFound(str(account_id)) from error
            raise
        self._is_configured = True
        return _key_from(dict(row or {})), text

    async def list(self, account_id: str | None = None) -> Sequence[ApiKey]:
        """Return all keys, or those of one account: first valid keys, then revoked ones.

        Both parts are newest first. Raises `AccountNotFound`.
        """
        rows = await self._database.fetch("list_keys", account_id)
        if (
            not rows
            and account_id is not None
            and await self._database.fetch_row("get_account", account_id) is None
        ):
            raise AccountNotFound(account_id)
        return [_key_from(dict(row)) for row in rows]

    async def revoke(self, name: str, *, actor: Actor | str | None = None) -> ApiKey:
        """Revoke a key permanently. `name` is its prefix, its id or the key itself.

        Every process refuses the key within `KEY_CACHE_SECONDS`. A key that is already revoked is
        returned unchanged. Raises `KeyNotFound`, whose text contains nothing secret.
        """
        prefix, key_id = parse_key_name(name)
        row = await self._database.fetch_row("revoke_key", prefix, key_id, actor_to_json(actor))
        if row is None:
            raise KeyNotFound(redact_key(name))
        self._known.clear()
        return _key_from(dict(row))

    async def authenticate(self, text: str) -> Caller:
        """Return the caller with this key, or raise `KeyRefused` with the reason.

        The check of a key is cached for `KEY_CACHE_SECONDS` from the start of its query. A revoked
        key is therefore refused within that time, and a busy key needs one query a second.
        """
        prefix = prefix_of(text)
        if prefix is None:
            raise KeyRefused("malformed")
        # Look up the hash, so that the time of the lookup reveals nothing about stored keys.
        digest = hash_key(text)
        now = self._clock()
        check = self._known.get(digest, now) or self._unknown.get(digest, now)
        if check is None:
            check = await self._check_key(prefix, digest, now)
        if not isinstance(check, Caller):
            raise KeyRefused(check)
        self._last_used[prefix] = now
        return check

    async def _check_key(self, prefix: str, digest: bytes, now: float) -> _KeyCheck:
        row = await self._database.fetch_row("find_key", prefix)
        # Compare even without a row, so that both cases take the same time. `revoked` is returned
        # only for the whole key.
        stored = EMPTY_HASH if row is None else row["secret_sha256"]
        if not hmac.compare_digest(stored, digest) or row is None:
            self._unknown.put(digest, "unknown", now)
            return "unknown"
        check: _KeyCheck = "revoked"
        if not row["is_revoked"]:
            check = Caller(Role(row["role"]), row["account_id"], prefix)
        self._known.put(digest, check, now)
        return check

    async def has_any_key(self) -> bool:
        """Return whether a key was ever created, including revoked keys.

        The API stays closed to requests without a key after the last key is revoked. True is cached
        permanently, False for at most `KEY_CACHE_SECONDS`.
        """
        now = self._clock()
        if not self._is_configured and now - self._configured_asked_at >= KEY_CACHE_SECONDS:
            row = await self._database.fetch_row("any_key_exists")
            self._is_configured |= row is not None and row["is_there"]
            self._configured_asked_at = now
        return self._is_configured

    async def write_last_used(self) -> int:
        """Store when keys were last used, in one statement, and return how many keys changed.

        Call this every few seconds from a background task, and never during a request. After an
        error, the next call stores the same uses.
        """
        used, self._last_used = self._last_used, {}
        if not used:
            return 0
        now = self._clock()
        seconds_ago = [now - used_at for used_at in used.values()]
        try:
            rows = await self._database.fetch(
                "note_key_uses", list(used), seconds_ago, LAST_USED_STEP_SECONDS
            )
        except BaseException:
            self._last_used = {**used, **self._last_used}
            raise
        return len(rows)


class _KeyCache:
    """The newest `max_keys` checks of keys, by the hash of the key."""

    def __init__(self, max_keys: int) -> None:
        self._max_keys = max_keys
        self._checks: dict[bytes, tuple[float, _KeyCheck]] = {}

    def get(self, digest: bytes, now: float) -> _KeyCheck | None:
        asked_at, check = self._checks.get(digest, (-math.inf, None))
        return check if now - asked_at < KEY_CACHE_SECONDS else None

    def put(self, digest: bytes, check: _KeyCheck, asked_at: float) -> None:
        self._checks.pop(digest, None)
        while len(self._checks) >= self._max_keys:
            del self._checks[next(iter(self._checks))]
        self._checks[digest] = (asked_at, check)

    def clear(self) -> None:
        self._checks.clear()


def _find_key_faults(role: str, account_id: str | None, name: str | None) -> list[Fault]:
    faults: list[Fault] = []
    if role not in set(Role):
        faults.append(Fault("role", f"{role!r:.80} must be one of {', '.join(Role)}"))
    elif role == Role.SERVICE and account_id is None:
        faults.append(Fault("account_id", "a service key is for one account: say which"))
    elif role != Role.SERVICE and account_id is not None:
        faults.append(
            Fault("account_id", f"the role {role} is for all accounts: only service keys have one")
        )
    if account_id is not None:
        faults += find_order_faults({"account_id": account_id})
    if name is not None and not (name.strip() and len(name) <= NAME_LENGTH and name.isprintable()):
        faults.append(Fault("name", f"must be 1 to {NAME_LENGTH} printable characters"))
    return faults


def _key_from(row: dict[str, Any]) -> ApiKey:
    return ApiKey(**{**row, "id": UUID(int=row["id"].int), "role": Role(row["role"])})
