"""Logins with few grants or none, and databases before an update."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from shared.adapters.postgres.named_queries import sql_folder
from tests.support.database_logins import connected


@asynccontextmanager
async def login(url: str, *, member_of: Sequence[str] = (), owns: str = "") -> AsyncIterator[str]:
    """Create a login for the block. Yields its name.

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


def sql_before(number: int, target: Path) -> Path:
    """Copy the migrations below that number from the folder `sql`, without functions and rights.

    What older versions granted stands in their migrations.
    """
    folder = Path(shutil.copytree(sql_folder(), target))
    for file in (folder / "migrations").glob("*.sql"):
        if int(file.name[:4]) >= number:
            file.unlink()
    shutil.rmtree(folder / "functions")
    (folder / "rights.sql").write_text("SELECT 1")
    return folder
