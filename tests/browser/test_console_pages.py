"""Every page and form of the console in a real browser: both themes, wide and on a phone."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from producer.console.page import Action, Page
from producer.console.page_table import ACTIONS, PAGES
from producer.keys.roles import Role
from tests.browser.browser_windows import Theme, Windows
from tests.browser.console_addresses import address_of
from tests.browser.running_system import RunningSystem
from tests.browser.stocked_system import StockedSystem, stocked_system

pytestmark = pytest.mark.asyncio(loop_scope="session")
SHOWN: list[Page | Action] = [
    *(page for page in PAGES if not page.is_stream and not page.is_file),
    *(action for action in ACTIONS if action.form is not None),
]
LOOKS: tuple[tuple[Theme, int], ...] = (("dark", 1440), ("light", 1440), ("light", 390))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stocked(system: RunningSystem) -> AsyncIterator[StockedSystem]:
    """A job in every state."""
    async with stocked_system(system) as stocked:
        yield stocked


def driven_actions() -> set[str]:
    """Return the actions that tests of this folder say they perform."""
    named: set[str] = set()
    for file in Path(__file__).parent.glob("test_console_*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.drives":
                named.update(ast.literal_eval(argument) for argument in node.args)
    return named


async def test_each_action_is_performed_in_a_browser() -> None:
    assert driven_actions() == {action.name for action in ACTIONS}


@pytest.mark.parametrize("target", SHOWN, ids=[one.name for one in SHOWN])
async def test_nothing_is_wrong_with_a_page_in_any_theme_at_any_width(
    windows: Windows, stocked: StockedSystem, target: Page | Action
) -> None:
    path = address_of(target, stocked.ids)
    window = await windows.open(Role.ADMIN)
    page = await window.open(path)
    await page.get_by_role("heading", level=1).wait_for()
    assert page.url.endswith(path)
    for theme, width in LOOKS:
        await page.emulate_media(color_scheme=theme)
        await page.set_viewport_size({"width": width, "height": 800})
        await window.check_width()
        await window.check_accessibility()
