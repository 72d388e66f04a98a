"""What an admin deletes in the console, in a real browser on a phone."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from producer.keys.roles import Role
from shared.domain.lifecycle import JobState
from tests.browser.browser_windows import Windows
from tests.browser.running_system import RunningSystem
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.aged_jobs import age

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.drives("make_secret", "rotate_secret", "remove_secret", "erase_prompts")
async def test_the_secret_of_an_account_is_replaced_and_removed_and_its_prompts_are_erased(
    windows: Windows, system: RunningSystem
) -> None:
    await system.deployment.open_account("leaving", 10)
    window = await windows.open(Role.ADMIN, theme="light", width=390)
    page = await window.open("/console/accounts/leaving")
    await page.get_by_role("link", name="Webhook secret").click()
    await page.get_by_role("button", name="Make a secret").click()
    await expect(page.get_by_role("status").first).to_contain_text("The account has a secret")
    await window.check_width()
    for name, said in (("Rotate", "was replaced"), ("Remove", "was removed")):
        await page.get_by_role("link", name=name).click()
        await page.get_by_label("Type leaving to confirm").fill("leaving")
        await page.get_by_role("button", name=f"{name} the secret").click()
        await expect(page.get_by_role("status").first).to_contain_text(said)
    page = await window.open("/console/accounts/leaving")
    await page.get_by_role("link", name="Erase prompts and images").click()
    await page.get_by_label("Reason").fill("the customer's demand")
    await page.get_by_label("Type leaving to confirm").fill("leaving")
    await page.get_by_role("button", name="Erase for good").click()
    await expect(page.get_by_role("status").first).to_contain_text("Erased of 0 jobs")
    await expect(page.get_by_role("region", name="Erasures")).to_be_visible()
    await window.check_accessibility()


@pytest.mark.drives("prune")
async def test_old_data_is_pruned_by_the_typed_number(
    windows: Windows, system: RunningSystem
) -> None:
    setup = DatabaseSetup(system.deployment.database)
    await system.deployment.open_account("old", 100)
    job = await setup.job_in(JobState.CANCELLED, account_id="old")
    await age(setup, job.id, days=500)
    window = await windows.open(Role.ADMIN, theme="light", width=390)
    page = await window.open("/console/retention")
    await page.get_by_role("link", name="Prune now").click()
    number = await page.locator("input[name=shown]").input_value()
    await page.get_by_label(f"Type {number} to confirm").fill(number)
    await window.check_width()
    await window.check_accessibility()
    await page.get_by_role("button", name="Delete them for good").click()
    await expect(page.get_by_role("status").first).to_contain_text("Deleted:")
    await expect(page.get_by_text("Nothing is older")).to_be_visible()
