"""Database logins for tests, each a member of the given roles only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from shared.adapters.postgres.database import Connection


def with_user(url: str, user: str) -> str:
    """Return the URL of the same database for another user without a password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "user"]
    return urlunsplit((parts.scheme, host, parts.path, urlencode([*query, ("user", user)]), ""))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Open a connection for the block."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def logged_in(url: str, member_of: Sequence[str] = ()) -> AsyncIterator[str]:
    """Create a login for the block. Yields the URL of the same database for it."""
    name = f"l{uuid4().hex[:12]}"
    async with connected(url) as owner:
        await owner.execute(f"CREATE ROLE {name} LOGIN")
        try:
            for role in member_of:
                await owner.execute(f"GRANT {role} TO {name}")
            yield with_user(url, name)
        finally:
            await owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
