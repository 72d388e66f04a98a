"""Fixtures of the browser tests: one Chromium and one running system per file."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from shared.adapters.embedded import EmbeddedServers
from tests.browser.browser_windows import Windows
from tests.browser.running_system import RunningSystem, running_system
from tests.support.chromium import CHROMIUM_SWITCHES, bring_chromium
from tests.support.database_pool import DatabasePool


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The Chromium that the tests of one file share.

    It does not stay open while tests of other files run: they have event loops of their own, and
    nothing reads its messages meanwhile.
    """
    brought = bring_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=brought.executable,
            args=CHROMIUM_SWITCHES,
            env={**os.environ, **brought.environ},
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system(
    embedded: EmbeddedServers, databases: DatabasePool, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningSystem]:
    """A running system that the tests of one file share."""
    async with running_system(embedded, databases, tmp_path_factory.mktemp("system")) as system:
        yield system


@pytest_asyncio.fixture(loop_scope="session")
async def windows(chromium: Browser, system: RunningSystem) -> AsyncIterator[Windows]:
    """The browser windows of one test, which fails if anything went wrong in one of them."""
    windows = Windows(chromium, system)
    yield windows
    faults = await windows.close()
    assert not faults, "\n".join(faults)
