"""The models in a real browser: the route of one is chosen after a count, and taken back."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from producer.keys.roles import Role
from tests.browser.browser_windows import Windows
from tests.browser.running_system import RunningSystem
from tests.support.told_by_kie import tell_of_surprise

pytestmark = pytest.mark.asyncio(loop_scope="session")
MODEL, ROUTE = "gpt-4o-image", "4o-image-api"
EXAMPLE = '{"queuePosition": "<script>console.error(1)</script>"}'


async def choose(page: Page, via: str) -> None:
    """Send the model by this family, from the page of the models."""
    await page.get_by_role("link", name=f"Send by another family: {MODEL}").click()
    await page.get_by_label("Sent by").select_option(via)
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("main")).to_contain_text("0 queued jobs, and those that come")
    await page.get_by_role("button", name="Send by").click()


@pytest.mark.drives("route_model")
async def test_a_model_goes_by_another_family_and_back(
    windows: Windows, system: RunningSystem
) -> None:
    page = await (await windows.open(Role.OPERATOR)).open("/console/models")
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=MODEL))
    await expect(card).to_contain_text("own family")
    await choose(page, ROUTE)
    await expect(card).to_contain_text(f"by {ROUTE}")
    await choose(page, MODEL)
    await expect(card).to_contain_text("own family")
    assert await system.deployment.run_sql("SELECT FROM active_routes") == []


async def test_the_example_of_a_surprise_is_opened_by_the_keyboard(
    windows: Windows, system: RunningSystem
) -> None:
    await tell_of_surprise(system.deployment, ROUTE, "queuePosition", EXAMPLE)
    page = await (await windows.open(Role.VIEWER)).open("/console/models")
    await page.get_by_text("Show it").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text(EXAMPLE)).to_be_visible()
