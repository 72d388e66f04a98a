"""What the tests of the model share: a stage over a fresh database, and how long they run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.model.model_setup import Stage, build_stage
from tests.support.database_pool import DatabasePool


@pytest.fixture
def stage(databases: DatabasePool, tmp_path: Path) -> Iterator[Stage]:
    """A stage over a fresh database, on a loop of its own."""
    with asyncio.Runner() as runner:
        lent, stack = AsyncExitStack(), AsyncExitStack()
        try:
            url = runner.run(lent.enter_async_context(databases.lend()))
            yield build_stage(runner, stack, url, tmp_path)
        finally:
            runner.run(stack.aclose())
            runner.run(lent.aclose())
