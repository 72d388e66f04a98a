"""Pauses of operators and brakes of Kie accounts in the console, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from producer.keys.roles import Role
from tests.browser.browser_windows import Windows
from tests.browser.running_system import RunningSystem
from tests.support.deployment import eventually, text_to_image

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.drives("start_pause", "resume_pause")
async def test_an_operator_pauses_an_account_and_resumes_it_from_another_page(
    windows: Windows, system: RunningSystem
) -> None:
    deployment = system.deployment
    await deployment.open_account("paused-shop", 100)
    job = await deployment.producer.enqueue(text_to_image(), account_id="paused-shop")
    window = await windows.open(Role.OPERATOR)
    page = await window.open("/console/pauses")
    await page.get_by_role("link", name="Pause submits").click()
    await page.get_by_label("What", exact=True).select_option("account")
    await page.get_by_label("Which one").fill("paused-shop")
    await page.get_by_label("Why").fill("they asked us to wait")
    await page.get_by_label("It ends").select_option("3600")
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(
        "Pause submits of account paused-shop?"
    )
    await expect(page.get_by_role("definition").first).to_contain_text("1 queued job")
    await window.check_accessibility()
    await page.get_by_role("button", name="Pause account paused-shop").click()
    await page.get_by_role("heading", name="Pauses", exact=True).wait_for()
    assert (await deployment.producer.get(job.id)).attempt == 0

    page = await window.open("/console/jobs")
    bar = page.locator("#pause-bar .banner").filter(has_text="paused-shop")
    await expect(bar).to_contain_text("they asked us to wait")
    await expect(bar).to_contain_text(re.compile(r"by console:dk_\w+"))
    await window.check_width()
    await window.check_accessibility()
    await bar.get_by_role("button", name="Resume").click()
    await expect(page.get_by_text("The pause of account paused-shop has ended.")).to_be_visible()
    await expect(bar).to_have_count(0)
    await deployment.producer.cancel(job.id)


@pytest.mark.drives("end_brake")
async def test_submits_that_kie_has_stopped_go_on_once_somebody_says_why(
    windows: Windows, system: RunningSystem
) -> None:
    deployment = system.deployment
    await deployment.open_account("acme", 100)
    deployment.simulator.set_faults(submit_code=402)
    async with deployment.worker():
        await deployment.enqueue()

        async def is_braked() -> bool:
            alerts = (await deployment.producer.overview()).alerts
            return any(alert.name == "submits_paused" for alert in alerts)

        await eventually(is_braked, "Kie's 402 stops the submits")
        deployment.simulator.set_faults(submit_code=0)
        window = await windows.open(Role.OPERATOR)
        page = await window.open("/console")
        # Without changes of jobs, a page reads again every 10 seconds.
        await expect(page.get_by_role("main")).to_contain_text("402", timeout=20_000)
        await page.get_by_role("link", name="Let submits go on").click()
        await page.get_by_label("What was repaired").fill("topped up, invoice 31")
        await window.check_accessibility()
        await page.get_by_role("button", name="Let submits go on").click()
        await expect(page.get_by_role("status").first).to_be_visible()
        # The refused job itself waits until it is due again.
        assert (await deployment.ended(await deployment.enqueue(), 8)).state == "succeeded"
