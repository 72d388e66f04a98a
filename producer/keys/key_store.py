"""API keys: who may ask over HTTP, and for whose account."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from producer.actor import Actor, stated
from producer.keys.key_format import (
    NO_DIGEST,
    digest_of,
    make_key,
    named,
    prefix_of,
    without_secret,
)
from producer.orders.order_fields import faults_of_small_print
from shared.adapters.postgres.database import Database
from shared.errors import (
    AccountNotFound,
    DatabaseRefused,
    Fault,
    InvalidRequest,
    KeyNotFound,
    KeyRefusal,
    KeyRefused,
)

MEMORY_SECONDS = 1.0
"""How old what a process knows of a key may be: within this time a revocation holds everywhere."""
USE_NOTED_SECONDS = 60.0
"""`last_used_at` of one key moves no more often than this, however many processes note its use."""
NAME_LENGTH = 200

_THE_ACCOUNT = "the_account_of_a_key_must_exist"
_MOST_REMEMBERED = 1024


class Role(StrEnum):
    """What a key is for; each endpoint says which roles it serves."""

    SERVICE = "service"
    """Enqueues and looks after its jobs for one account, and sees nothing of any other."""
    OPERATOR = "operator"
    """Sees every account and looks after the queue; spends nobody's credits."""
    ADMIN = "admin"
    """Does all of that for every account, sets prices and grants credits."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key; nothing here is secret."""

    id: UUID
    prefix: str
    """How the key begins."""
    role: Role
    account_id: str | None
    """The one account that a service key sees; None for the other roles."""
    name: str | None
    """What it is for, in its maker's words."""
    created_at: datetime
    created_by: str
    last_used_at: datetime | None
    """True to a minute or two; None: never used."""
    revoked_at: datetime | None
    """Since when it is refused; None: it holds."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: what a presented key entitles to."""

    role: Role
    account_id: str | None
    """The account of a service key; None for the other roles."""
    key_prefix: str | None
    """The key that was presented, for logs; None where none is needed."""


ANYONE = Caller(Role.ADMIN, None, None)
"""Whoever asks while no key was ever created, when only this machine is listened to."""

_Verdict = Caller | KeyRefusal


class KeyRing:
    """The keys of a database, as one process knows them. Every method raises `PostgresDown`.

    What it remembers is at most `MEMORY_SECONDS` old, by the clock given (in seconds, never
    turned back), and at most `most_remembered` keys of each sort.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.monotonic,
        *,
        most_remembered: int = _MOST_REMEMBERED,
    ) -> None:
        self._database = database
        self._clock = clock
        # Apart, so that made-up keys drive out neither real ones nor each other without end.
        self._known = _Memory(most_remembered)
        self._unknown = _Memory(most_remembered)
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
        """Create a key; the text beside it is the key itself, which nobody can ever ask for again.

        `actor` is who wants it, by default the database session's user. Raises `InvalidRequest`
        with every fault (a service key needs an account, no other may have one) and
        `AccountNotFound`, each with nothing stored.
        """
        faults = _faults_of(role, account_id, name)
        if faults:
            raise InvalidRequest(faults)
        prefix, text = make_key()
        values = (UUID(int=uuid7().int), prefix, digest_of(text), role, account_id, name)
        try:
            row = await self._database.fetch_row("create_key", *values, stated(actor))
        except DatabaseRefused as error:
            if error.constraint == _THE_ACCOUNT:
                raise AccountNotFound(str(account_id)) from error
            raise
        self._is_configured = True
        return _key_from(dict(row or {})), text

    async def list(self, account_id: str | None = None) -> Sequence[ApiKey]:
        """Return all keys, or one account's: those that hold first, each sort newest first.

        Raises `AccountNotFound`.
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
        """Refuse a key from now on, for ever; `name` is its prefix, its id or the key itself.

        Every process refuses it within `MEMORY_SECONDS`. A key that was revoked before is returned
        as it was. Raises `KeyNotFound`, which repeats nothing secret.
        """
        prefix, key_id = named(name)
        row = await self._database.fetch_row("revoke_key", prefix, key_id, stated(actor))
        if row is None:
            raise KeyNotFound(without_secret(name))
        self._known.forget()
        return _key_from(dict(row))

    async def recognise(self, text: str) -> Caller:
        """Return who presents this key, or raise `KeyRefused` with the reason.

        A verdict is remembered for `MEMORY_SECONDS` from the moment the database was asked, so a
        revoked key is refused within that time, and a busy one costs one query a second.
        """
        prefix = prefix_of(text)
        if prefix is None:
            raise KeyRefused("malformed")
        # What is looked up is a hash of what came: how long that takes tells nothing of any key.
        digest = digest_of(text)
        now = self._clock()
        verdict = self._known.recall(digest, now) or self._unknown.recall(digest, now)
        if verdict is None:
            verdict = await self._judge(prefix, digest, now)
        if not isinstance(verdict, Caller):
            raise KeyRefused(verdict)
        self._last_used[prefix] = now
        return verdict

    async def _judge(self, prefix: str, digest: bytes, now: float) -> _Verdict:
        row = await self._database.fetch_row("find_key", prefix)
        # Compared even where there is no such prefix: both take the same time, and `revoked` is
        # told only to who has the whole key.
        stored = NO_DIGEST if row is None else row["secret_sha256"]
        if not hmac.compare_digest(stored, digest) or row is None:
            self._unknown.keep(digest, "unknown", now)
            return "unknown"
        verdict: _Verdict = "revoked"
        if not row["is_revoked"]:
            verdict = Caller(Role(row["role"]), row["account_id"], prefix)
        self._known.keep(digest, verdict, now)
        return verdict

    async def is_configured(self) -> bool:
        """Return whether any key was ever created, revoked ones included.

        Revoking the last key must not open the house. True is remembered for ever, False for at
        most `MEMORY_SECONDS`.
        """
        now = self._clock()
        if not self._is_configured and now - self._configured_asked_at >= MEMORY_SECONDS:
            row = await self._database.fetch_row("any_key_exists")
            self._is_configured |= row is not None and row["is_there"]
            self._configured_asked_at = now
        return self._is_configured

    async def note_uses(self) -> int:
        """Write down when keys were last used; return how many were moved forward.

        To be called every few seconds from the background, never while somebody waits: one
        statement for all keys used since. On error the uses are kept for the next call.
        """
        used, self._last_used = self._last_used, {}
        if not used:
            return 0
        now = self._clock()
        seconds_ago = [now - used_at for used_at in used.values()]
        try:
            rows = await self._database.fetch(
                "note_key_uses", list(used), seconds_ago, USE_NOTED_SECONDS
            )
        except BaseException:
            self._last_used = {**used, **self._last_used}
            raise
        return len(rows)


class _Memory:
    """Remembers verdicts for a moment, the newest `most` of them, by the digests of keys."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._verdicts: dict[bytes, tuple[float, _Verdict]] = {}

    def recall(self, digest: bytes, now: float) -> _Verdict | None:
        asked_at, verdict = self._verdicts.get(digest, (-math.inf, None))
        return verdict if now - asked_at < MEMORY_SECONDS else None

    def keep(self, digest: bytes, verdict: _Verdict, asked_at: float) -> None:
        self._verdicts.pop(digest, None)
        while len(self._verdicts) >= self._most:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[digest] = (asked_at, verdict)

    def forget(self) -> None:
        self._verdicts.clear()


def _faults_of(role: str, account_id: str | None, name: str | None) -> list[Fault]:
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
        faults += faults_of_small_print({"account_id": account_id})
    if name is not None and not (name.strip() and len(name) <= NAME_LENGTH and name.isprintable()):
        faults.append(Fault("name", f"must be 1 to {NAME_LENGTH} printable characters"))
    return faults


def _key_from(row: dict[str, Any]) -> ApiKey:
    return ApiKey(**{**row, "id": UUID(int=row["id"].int), "role": Role(row["role"])})
