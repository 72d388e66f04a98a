"""Jobs in the console, in a real browser: found, followed, and acted on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from producer.keys.roles import Role
from shared.domain.job import Job
from shared.domain.job_events import HeldForReview
from shared.domain.lifecycle import JobState
from tests.browser.browser_windows import Windows
from tests.browser.running_system import RunningSystem
from tests.browser.stocked_system import MARKUP, StockedSystem, stocked_system
from tests.fakes.fake_webhook_receiver import receiving
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.deployment import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")
IMAGE = "https://images.example/resolved.png"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stocked(system: RunningSystem) -> AsyncIterator[StockedSystem]:
    """A job in every state."""
    async with stocked_system(system) as stocked:
        yield stocked


async def fail_a_job(system: RunningSystem) -> Job:
    """Run a job that Kie refuses."""
    deployment = system.deployment
    deployment.simulator.set_faults(outcome="content_policy")
    job = await deployment.enqueue()
    ended = await deployment.ended(job)
    deployment.simulator.set_faults(outcome=None)
    assert ended.state == "failed"
    return ended


async def queue_a_job(system: RunningSystem) -> Job:
    """Enqueue a job for tomorrow."""
    return await system.deployment.enqueue(run_at=datetime.now(UTC) + timedelta(days=1))


def row_of(page: Page, job: Job) -> Locator:
    """Return the row of the job in the list."""
    return page.get_by_role("row").filter(has_text=str(job.id))


@pytest.mark.drives("retry_job")
async def test_from_the_failed_count_to_the_retried_job_are_three_clicks(
    windows: Windows, stocked: StockedSystem
) -> None:
    job = await fail_a_job(stocked.system)
    page = await (await windows.open(Role.OPERATOR)).open("/console")
    for click in (
        page.get_by_role("link", name="Failed"),
        row_of(page, job).get_by_role("link", name="Retry"),
        page.get_by_role("button", name="Retry the job"),
    ):
        await click.click()
    await expect(page.get_by_role("status").first).to_contain_text("Retried as this job")
    deployment = stocked.system.deployment
    (retry,) = await deployment.run_sql("SELECT id FROM jobs WHERE retry_of = $1", job.id)
    assert page.url.endswith(f"/console/jobs/{retry['id']}")


async def test_a_failed_job_is_found_and_retried_by_the_keyboard_alone(
    windows: Windows, stocked: StockedSystem
) -> None:
    job = await fail_a_job(stocked.system)
    # Without any key the console is open, and its login leads on.
    key = await stocked.system.key_of(Role.OPERATOR)
    window = await windows.open()
    page = await window.open("/console/login")
    await expect(page.get_by_label("API key")).to_be_focused()
    await page.keyboard.type(key)
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="Overview").wait_for()
    await tab_to(page, page.get_by_role("link", name="Failed"))
    await page.keyboard.press("Enter")
    await row_of(page, job).wait_for()
    await page.keyboard.press("j")
    await expect(row_of(page, job).get_by_role("link").first).to_be_focused()
    await page.keyboard.press("Enter")
    await tab_to(page, page.get_by_role("link", name="Retry"))
    await page.keyboard.press("Enter")
    await tab_to(page, page.get_by_role("button", name="Retry the job"))
    await page.keyboard.press("Enter")
    await page.get_by_role("status").first.wait_for()
    count = "SELECT count(*) AS jobs FROM jobs WHERE retry_of = $1"
    assert (await stocked.system.deployment.run_sql(count, job.id))[0]["jobs"] == 1


async def test_the_first_press_of_tab_offers_to_skip_to_the_content(
    windows: Windows, stocked: StockedSystem
) -> None:
    page = await (await windows.open(Role.VIEWER)).open("/console/jobs")
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Live")).to_be_focused()


async def tab_to(page: Page, target: Locator, presses_max: int = 60) -> None:
    """Press Tab until the target has the focus, which must be visible."""
    await target.wait_for()
    for _ in range(presses_max):
        await page.keyboard.press("Tab")
        if await target.evaluate("element => element === document.activeElement"):
            assert await target.evaluate(_HAS_VISIBLE_FOCUS), "the focus cannot be seen"
            return
    raise AssertionError(f"{presses_max} presses of Tab do not reach {target}")


_HAS_VISIBLE_FOCUS = """element => {
  const style = getComputedStyle(element);
  return (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1)
    || style.boxShadow !== 'none';
}"""


@pytest.mark.drives("cancel_job")
async def test_a_queued_job_is_cancelled_and_its_credits_are_released(
    windows: Windows, stocked: StockedSystem
) -> None:
    job = await queue_a_job(stocked.system)
    page = await (await windows.open(Role.OPERATOR)).open("/console/jobs?state=queued")
    await row_of(page, job).get_by_role("link", name="Cancel").click()
    await page.get_by_role("button", name="Cancel the job").click()
    await expect(page.get_by_role("status").first).to_contain_text("were released")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("cancelled")
    ended = await stocked.system.deployment.producer.get(job.id)
    assert ended.state == "cancelled"


@pytest.mark.drives("resolve_job")
async def test_an_unknown_submission_is_resolved(windows: Windows, stocked: StockedSystem) -> None:
    job = stocked.jobs["unknown"]
    window = await windows.open(Role.OPERATOR)
    page = await window.open(f"/console/jobs/{job.id}")
    await page.get_by_role("link", name="Resolve").click()
    await page.get_by_label("Kie made no task").check()
    await page.get_by_label("Reason").fill(f"Kie's log has nothing {MARKUP}")
    await page.get_by_role("button", name="Resolve").click()
    await expect(page.get_by_role("status").first).to_be_visible()
    assert (await stocked.system.deployment.producer.get(job.id)).state == "failed"
    assert await page.get_by_text("Kie's log has nothing").count()


async def resolve(page: Page, verdict: str, reason: str, images: str = "") -> None:
    """Decide a doubt by its form, which the page of the job leads to."""
    await page.get_by_role("link", name="Resolve").click()
    await page.get_by_role("radio", name=verdict).check()
    if images:
        await page.get_by_role("textbox", name="Images").fill(images)
    await page.get_by_label("Reason").fill(reason)
    await page.get_by_role("button", name="Resolve").click()
    await expect(page.get_by_role("status").first).to_be_visible()


@pytest.mark.parametrize(
    ("verdict", "state", "charged"),
    [("Kie made these images", "succeeded", 6), ("Kie made no images", "failed", None)],
)
async def test_a_success_that_cannot_be_read_is_resolved(
    windows: Windows, stocked: StockedSystem, verdict: str, state: str, charged: int | None
) -> None:
    setup = DatabaseSetup(stocked.system.deployment.database)
    job = await setup.move(await setup.job_in(JobState.GENERATING), HeldForReview)
    page = await (await windows.open(Role.OPERATOR)).open(f"/console/jobs/{job.id}")
    images = (IMAGE,) if charged else ()
    await resolve(page, verdict, "seen in Kie's log", *images)
    resolved = await setup.book.get(job.id)
    assert (resolved.state, resolved.credits_charged) == (state, charged)
    assert resolved.result_urls == images


async def test_images_that_may_have_come_late_are_kept_free_of_charge(
    windows: Windows, stocked: StockedSystem
) -> None:
    setup = DatabaseSetup(stocked.system.deployment.database)
    job = await setup.job_in(JobState.FAILED)
    await setup.sql(
        "INSERT INTO late_tasks (job_id, attempt, provider_task_id, next_check_at, in_doubt_since,"
        " answer) VALUES ($1, 1, $2, now() + interval '1 day', now(), 'no images in {}')",
        job.id,
        f"late-{job.id}",
    )
    page = await (await windows.open(Role.OPERATOR)).open(f"/console/jobs/{job.id}")
    await resolve(page, "Kie made these images", "seen in Kie's log", IMAGE)
    resolved = await setup.book.get(job.id)
    assert (resolved.state, resolved.credits_charged) == ("failed", None)
    assert resolved.late_result_urls == (IMAGE,)


@pytest.mark.drives("replay_webhook")
async def test_a_webhook_is_sent_again(windows: Windows, stocked: StockedSystem) -> None:
    deployment = stocked.system.deployment
    async with receiving() as receiver:
        job = await deployment.enqueue(webhook_url=receiver.url + "/hook")
        await deployment.ended(job)

        async def is_delivered() -> bool:
            return bool(receiver.to("/hook"))

        await eventually(is_delivered, "the webhook came")
        page = await (await windows.open(Role.OPERATOR)).open(f"/console/jobs/{job.id}#webhooks")
        await page.get_by_role("button", name="Send again").click()
        await expect(page.get_by_role("status").first).to_be_visible()

        async def is_delivered_again() -> bool:
            return len(receiver.to("/hook")) == 2

        await eventually(is_delivered_again, "the webhook came again")


async def test_filters_are_in_the_address_and_lead_to_the_same_list(
    windows: Windows, stocked: StockedSystem
) -> None:
    job = stocked.jobs["succeeded"]
    window = await windows.open(Role.OPERATOR)
    page = await window.open("/console/jobs")
    await page.get_by_role("link", name="Succeeded", exact=True).click()
    await page.get_by_label("Account").fill("acme")
    await page.get_by_text("More filters").click()
    await page.get_by_label("Metadata").fill("order=succeeded")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.locator("#job-rows tr")).to_have_count(1)
    await expect(row_of(page, job)).to_be_visible()
    reloaded = await windows.open(Role.OPERATOR)
    assert "=&" not in page.url
    assert not page.url.endswith("=")
    same = await reloaded.open(page.url.removeprefix(window.url))
    await expect(same.locator("#job-rows tr")).to_have_count(1)
    await expect(same.get_by_label("Account")).to_have_value("acme")
    await expect(same.get_by_label("Metadata")).to_have_value("order=succeeded")


async def test_a_viewer_sees_neither_prompts_nor_buttons(
    windows: Windows, stocked: StockedSystem
) -> None:
    job = stocked.jobs["failed"]
    window = await windows.open(Role.VIEWER)
    for path in ("/console/jobs?state=failed", f"/console/jobs/{job.id}"):
        page = await window.open(path)
        assert MARKUP not in await page.inner_text("main")
        assert "onerror" not in await page.content()
        await expect(page.get_by_role("link", name="Retry")).to_have_count(0)
    window.allow_status(403)
    page = await window.open(f"/console/jobs/{job.id}/retry")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Forbidden")


@pytest.mark.parametrize("path", ["/console", "/console/jobs"])
async def test_a_live_update_moves_nothing(
    windows: Windows, stocked: StockedSystem, path: str
) -> None:
    page = await (await windows.open(Role.OPERATOR)).open(path)
    await expect(page.get_by_role("button", name="Live")).to_be_visible()
    before = await page.evaluate(_POSITIONS)
    await page.evaluate("() => { window.kept = document.querySelector('#live') }")
    await queue_a_job(stocked.system)
    await page.wait_for_function("() => window.kept !== document.querySelector('#live')")
    after = await page.evaluate(_POSITIONS)
    assert len(before) > 10
    assert {name: after[name] for name in before} == before


async def test_the_page_of_a_job_follows_it_without_a_reload(
    windows: Windows, stocked: StockedSystem
) -> None:
    job = await queue_a_job(stocked.system)
    page = await (await windows.open(Role.VIEWER)).open(f"/console/jobs/{job.id}")
    heading = page.get_by_role("heading", level=1)
    await expect(heading).to_contain_text("queued")
    await page.evaluate("() => { window.kept = true }")
    await stocked.system.deployment.producer.cancel(job.id)
    await expect(heading).to_contain_text("cancelled", timeout=15_000)
    assert await page.evaluate("() => window.kept")


_POSITIONS = """() => {
  const positions = {};
  const parts = 'h1, h2, th, nav a, label, button, .tile, .tile-label, [id^=job-], figure';
  for (const element of document.querySelectorAll(parts)) {
    const box = element.getBoundingClientRect();
    const name = element.id || element.tagName + element.innerText.split('\\n')[0];
    positions[name] = [box.left, box.top, box.width, box.height].map(Math.round);
  }
  return positions;
}"""
