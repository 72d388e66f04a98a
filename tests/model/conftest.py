"""What the tests of the model share: a stage over a fresh database, and how long they run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.model.stage import Stage, build_stage


@pytest.fixture
def stage(template_database: str, tmp_path: Path) -> Iterator[Stage]:
    """A stage over a fresh database, on a loop of its own."""
    server, _, template = template_database.rpartition("/")
    name = f"m{uuid4().hex}"

    async def administer(statement: str) -> None:
        connection = await asyncpg.connect(f"{server}/{template}")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    with asyncio.Runner() as runner:
        runner.run(administer(f"CREATE DATABASE {name} TEMPLATE darkroom_template"))
        stack = AsyncExitStack()
        try:
            yield build_stage(runner, stack, f"{server}/{name}", tmp_path)
        finally:
            runner.run(stack.aclose())
            runner.run(administer(f"DROP DATABASE {name} WITH (FORCE)"))
