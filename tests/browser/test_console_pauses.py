"""Pauses of operators and brakes of Kie accounts in the console, in a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from producer.keys.key_store import Role
from tests.browser.browser_windows import Windows
from tests.browser.running_system import RunningSystem
from tests.support.deployment import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.drives("start_pause", "resume_pause")
async def test_submits_of_an_account_are_paused_and_resumed(
    windows: Windows, system: RunningSystem
) -> None:
    producer = system.deployment.producer
    await system.deployment.open_account("acme", 100)
    window = await windows.open(Role.OPERATOR)
    page = await window.open("/console/pauses")
    await page.get_by_role("link", name="Pause submits").click()
    await page.get_by_label("What").select_option("account")
    await page.get_by_label("Which one").fill("acme")
    await page.get_by_label("Why").fill("their prompts are wrong")
    await page.get_by_role("button", name="Continue").click()
    await page.get_by_role("button", name="Pause account acme").click()
    await expect(page.get_by_role("row").filter(has_text="their prompts are wrong")).to_be_visible()
    (pause,) = await producer.pauses.active()
    assert (pause.scope, pause.value) == ("account", "acme")
    overview = await (await windows.open(Role.VIEWER)).open("/console")
    await expect(overview.get_by_role("main")).to_contain_text("their prompts are wrong")
    await page.get_by_role("button", name="Resume").first.click()
    await expect(page.get_by_text("Nothing is paused")).to_be_visible()
    assert await producer.pauses.active() == []


@pytest.mark.drives("end_brake")
async def test_submits_that_kie_has_stopped_go_on_once_somebody_says_why(
    windows: Windows, system: RunningSystem
) -> None:
    deployment = system.deployment
    deployment.simulator.set_faults(submit_code=402)
    async with deployment.worker():
        job = await deployment.enqueue()

        async def is_braked() -> bool:
            alerts = (await deployment.producer.overview()).alerts
            return any(alert.name == "submits_paused" for alert in alerts)

        await eventually(is_braked, "Kie's 402 stops the submits")
        deployment.simulator.set_faults(submit_code=0)
        window = await windows.open(Role.OPERATOR)
        page = await window.open("/console")
        await expect(page.get_by_role("main")).to_contain_text("402")
        await page.get_by_role("link", name="Let submits go on").click()
        await page.get_by_label("What was repaired").fill("topped up, invoice 31")
        await window.check_accessibility()
        await page.get_by_role("button", name="Let submits go on").click()
        await expect(page.get_by_role("status").first).to_be_visible()
        assert (await deployment.ended(job)).state == "succeeded"
