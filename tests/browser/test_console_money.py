"""Prices, credits and refunds of the console in a real browser, as somebody new uses them."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from playwright.async_api import Page, expect

from producer.keys.roles import Role
from tests.browser.browser_windows import Windows
from tests.browser.running_system import RunningSystem
from tests.support.deployment import text_to_image

pytestmark = pytest.mark.asyncio(loop_scope="session")
KEY = ("gpt-4o-image", "text-to-image", 4)
NAME = "Change the price of gpt-4o-image text-to-image, 4 images"
CHANGE_SECONDS = 15.0
"""What an admin may need for a change with its preview. The browser needs a part of it."""


async def price_of(system: RunningSystem) -> Decimal:
    price: Decimal = (await system.deployment.producer.billing.price(*KEY))["credits"]
    return price


async def ask(page: Page, credits: str, reason: str) -> None:
    await page.get_by_label("New price").fill(credits)
    await page.get_by_label("Reason").fill(reason)
    await page.get_by_role("button", name="Preview").click()
    await expect(page.get_by_role("heading", name="What it does")).to_be_visible()


@pytest.mark.drives("change_price")
async def test_a_price_is_changed_with_its_preview_in_five_steps(
    windows: Windows, system: RunningSystem
) -> None:
    window = await windows.open(Role.ADMIN)
    page = await window.open("/console")
    started = time.monotonic()
    await page.get_by_role("link", name="Prices").click()
    await page.get_by_role("link", name=NAME).click()
    await expect(page.get_by_label("New price")).to_be_focused()
    await ask(page, "9.5", "Kie raised it")
    await expect(page.get_by_text("Nothing is changed yet")).to_be_visible()
    await window.check_accessibility()
    await page.get_by_role("button", name="Change the price").click()
    await expect(page.get_by_role("status").first).to_contain_text("The new price is 9.5")
    assert time.monotonic() - started < CHANGE_SECONDS
    await expect(page.locator("[data-plot] canvas")).to_be_visible()
    await expect(page.get_by_role("cell", name="Kie raised it")).to_be_visible()
    assert await price_of(system) == Decimal("9.5")
    await window.check_accessibility()


async def test_a_slip_asks_a_second_time(windows: Windows, system: RunningSystem) -> None:
    window = await windows.open(Role.ADMIN)
    before = await price_of(system)
    page = await window.open("/console/prices/{}/{}/{}/change".format(*KEY))
    await ask(page, "1", "a slip")
    await expect(page.get_by_role("alert")).to_contain_text("more than 5 times")
    await page.get_by_role("button", name="Change the price").click()
    await expect(page.get_by_text("Check this if it is meant.")).to_be_visible()
    assert await price_of(system) == before
    await window.check_accessibility()
    await page.get_by_label("Yes, a change of more than 5 times is intended").check()
    await page.get_by_role("button", name="Change the price").click()
    await expect(page.get_by_role("status").first).to_contain_text("The new price is 1,")
    assert await price_of(system) == 1


async def test_a_price_below_what_kie_charges_is_warned_of_and_faults_stand_beside_their_fields(
    windows: Windows, system: RunningSystem
) -> None:
    window = await windows.open(Role.ADMIN)
    page = await window.open("/console/prices/gpt-4o-image/text-to-image/1/change")
    await ask(page, "5", "a gift")
    await expect(page.locator(".alert.warn")).to_contain_text("Kie")
    window.allow_status(422)
    await page.get_by_label("New price").fill("6.1234567")
    await page.get_by_label("Reason").fill(" ")
    await page.get_by_role("button", name="Change the price").click()
    await expect(page.locator(".field.faulty")).to_have_count(2)
    await window.check_accessibility()


@pytest.mark.drives("revoke_scheduled_price")
async def test_a_change_is_scheduled_and_revoked(windows: Windows, system: RunningSystem) -> None:
    window = await windows.open(Role.ADMIN, theme="light", width=390)
    page = await window.open("/console/prices/{}/{}/{}/change".format(*KEY))
    before = await price_of(system)
    await page.get_by_label("Takes hold (UTC)").fill("2027-12-31T00:00")
    await ask(page, f"{before + 1:f}", "new year")
    await window.check_width()
    await page.get_by_role("button", name="Schedule the change").click()
    await expect(page.get_by_role("cell", name="new year")).to_be_visible()
    await page.get_by_role("button", name="Revoke").click()
    await expect(page.get_by_role("status").first).to_contain_text("was revoked")
    assert await price_of(system) == before


@pytest.mark.drives("grant_credits", "refund_job", "set_limits")
async def test_credits_are_granted_a_charge_is_given_back_and_limits_are_set(
    windows: Windows, system: RunningSystem
) -> None:
    deployment = system.deployment
    await deployment.open_account("studio", 100)
    async with deployment.worker():
        placed = await deployment.producer.enqueue(text_to_image(), account_id="studio")
        job = await deployment.ended(placed)
    window = await windows.open(Role.ADMIN)
    page = await window.open("/console/accounts?id=studio")
    await page.get_by_role("link", name="Grant or adjust").click()
    await page.get_by_label("Credits").fill("50")
    await page.get_by_label("Reason").fill("invoice 17")
    await page.get_by_role("button", name="Book").click()
    await expect(page.get_by_role("status").first).to_contain_text("50 credits were granted.")
    await expect(page.get_by_text("invoice 17")).to_be_visible()
    await page.get_by_role("link", name="Limits").click()
    await page.get_by_label("Most queued jobs").fill("500")
    await page.get_by_label("Highest priority").select_option("normal")
    await window.check_accessibility()
    await window.check_width()
    await page.get_by_role("button", name="Set the limits").click()
    await expect(page.get_by_role("status").first).to_contain_text("The limits were set.")
    await window.check_accessibility()
    page = await window.open(f"/console/jobs/{job.id}")
    await page.get_by_role("link", name="Refund").click()
    await page.get_by_label("Reason").fill("blurred")
    await window.check_accessibility()
    await page.get_by_role("button", name="Refund").click()
    await expect(page.get_by_role("status").first).to_contain_text("were returned to studio.")
    account = await deployment.producer.balance("studio")
    assert (account.balance, account.held) == (150, 0)
    assert (account.weight, account.max_queued_jobs, account.max_priority) == (1, 500, "normal")
    page = await window.open("/console/accounts/studio")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="CSV").click()
    statement = await download.value
    assert statement.suggested_filename.startswith("statement-")
    lines = (await statement.path()).read_text("utf-8").splitlines()
    assert [line for line in lines if "invoice 17" in line and "50" in line]
