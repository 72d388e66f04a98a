"""Logins of the database that have few grants or none, and databases of before an update."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from shared.adapters.postgres import Connection
from shared.adapters.queries import sql_folder


def with_user(url: str, user: str) -> str:
    """Return the URL of the same database for another user, whom the server trusts."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "user"]
    return urlunsplit((parts.scheme, host, parts.path, urlencode([*query, ("user", user)]), ""))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Open a connection of somebody's own."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def login(url: str, *, member_of: Sequence[str] = (), owns: str = "") -> AsyncIterator[str]:
    """Create a login for the length of the block; yields its name.

    `owns` is a schema to make for it, in which it may do as it likes.
    """
    name = f"l{uuid4().hex[:12]}"
    async with connected(url) as owner:
        await owner.execute(f"CREATE ROLE {name} LOGIN")
        try:
            for role in member_of:
                await owner.execute(f"GRANT {role} TO {name}")
            if owns:
                await owner.execute(f"CREATE SCHEMA {owns} AUTHORIZATION {name}")
            yield name
        finally:
            await owner.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def migrations_before(number: int, target: Path) -> Path:
    """Copy the migrations below that number; return their folder."""
    folder = Path(shutil.copytree(sql_folder() / "migrations", target))
    for file in folder.glob("*.sql"):
        if int(file.name[:4]) >= number:
            file.unlink()
    return folder
