"""The pages of the HTTP reference in a real browser."""

from __future__ import annotations

import pytest

from tests.browser.browser_windows import Windows

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_reference_runs_under_its_policy_at_any_width(windows: Windows) -> None:
    for width in (390, 1440):
        window = await windows.open(width=width)
        page = await window.open("/docs")
        await page.get_by_role("link", name="/v1/jobs/batch").wait_for()
        await window.check_width()
