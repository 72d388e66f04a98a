"""Fixtures of the model tests: a setup on a fresh database, and the length of the runs."""

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
    """A setup on a fresh database with its own event loop."""
    with asyncio.Runner() as runner:
        lent, stack = AsyncExitStack(), AsyncExitStack()
        try:
            url = runner.run(lent.enter_async_context(databases.lend()))
            yield build_model_setup(runner, stack, url, tmp_path)
        finally:
            runner.run(stack.aclose())
            runner.run(lent.aclose())
