"""What the tests of the model share: a setup over a fresh database, and how long they run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.model.model_setup import ModelSetup, build_model_setup
from tests.support.database_pool import DatabasePool


@pytest.fixture
def setup(databases: DatabasePool, tmp_path: Path) -> Iterator[ModelSetup]:
    """A setup over a fresh database, on a loop of its own."""
    with asyncio.Runner() as runner:
        lent, stack = AsyncExitStack(), AsyncExitStack()
        try:
            url = runner.run(lent.enter_async_context(databases.lend()))
            yield build_model_setup(runner, stack, url, tmp_path)
        finally:
            runner.run(stack.aclose())
            runner.run(lent.aclose())
