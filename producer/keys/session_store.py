"""The sessions of the console in Postgres: open, find, list, end."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from producer.actor import Actor, actor_to_json
from producer.keys.key_store import Caller
from producer.keys.roles import Role
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.row_dicts import as_dicts
from shared.errors import KeyRefused, NotFound

SESSION_SECONDS = 7 * 24 * 3600.0
"""How long a session lasts at most."""
IDLE_SECONDS = 12 * 3600.0
"""After this time without a request a session has ended."""
LISTED_SESSIONS_MAX = 200
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class FoundSession:
    """A session that holds."""

    id: UUID
    caller: Caller


def _make_token() -> str:
    return secrets.token_urlsafe(32)


class SessionStore:
    """The sessions of a database. Every method may raise `PostgresDown`.

    A token has 256 random bits. Its SHA-256 is stored, so a copy of the database opens no session.
    """

    def __init__(self, queries: Queries, make_token: Callable[[], str] = _make_token) -> None:
        self._queries = queries
        self._make_token = make_token

    async def open(
        self, caller: Caller, *, actor: Actor, address: str | None, user_agent: str | None
    ) -> str:
        """Store a session of the caller's key, and return its token.

        Raises `KeyRefused` if the key was revoked since it was checked.
        """
        token = self._make_token()
        row = await self._queries.fetch_row(
            "open_session",
            UUID(int=uuid7().int),
            hash_token(token),
            caller.key_prefix,
            SESSION_SECONDS,
            address,
            user_agent,
            actor_to_json(actor),
        )
        if row is None:
            raise KeyRefused("revoked")
        return token

    async def find(self, token: str) -> FoundSession | None:
        """Return the session of a token, or None if it has ended or is unknown.

        It ends at its expiry, without requests for `IDLE_SECONDS`, by `end`, and when its key is
        revoked.
        """
        if not _TOKEN.fullmatch(token):
            return None
        row = await self._queries.fetch_row("find_session", hash_token(token), IDLE_SECONDS)
        if row is None:
            return None
        session_id = UUID(int=row["id"].int)
        if row["is_stale"]:
            await self._queries.fetch_row("note_session_seen", session_id)
        return FoundSession(session_id, Caller(Role(row["role"]), None, row["prefix"]))

    async def list(
        self, key_prefix: str | None = None, *, with_ended: bool = False
    ) -> list[dict[str, Any]]:
        """Return the newest sessions, of one key or of all: those that hold, or ended ones too."""
        rows = await self._queries.fetch(
            "list_sessions", IDLE_SECONDS, key_prefix, with_ended, LISTED_SESSIONS_MAX
        )
        return as_dicts(rows)

    async def end(
        self, session_id: UUID, *, actor: Actor, key_prefix: str | None = None
    ) -> dict[str, Any]:
        """End a session of one key or of any, and return it as it is listed.

        Raises `NotFound` if it is unknown, of another key, or has ended already.
        """
        row = await self._queries.fetch_row(
            "end_session", session_id, actor_to_json(actor), key_prefix
        )
        if row is None:
            of_key = "" if key_prefix is None else ", or is of another key"
            raise NotFound(f"no session {session_id} is open: it has ended already{of_key}")
        return dict(row)


def hash_token(token: str) -> bytes:
    """Return the SHA-256 of a session's token, which is stored instead of the token."""
    return hashlib.sha256(token.encode()).digest()
