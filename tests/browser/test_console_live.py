"""Live updates in a browser: they take nothing from a person, move nothing, and say what is old."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from producer.keys.roles import Role
from shared.domain import job_events
from shared.domain.job import Job
from tests.browser.browser_windows import Windows
from tests.browser.running_system import RunningSystem
from tests.browser.test_console_jobs import queue_a_job, row_of
from tests.browser.test_console_login import log_in
from tests.integration.database.database_setup import DatabaseSetup

pytestmark = pytest.mark.asyncio(loop_scope="session")
QUEUED = "/console/jobs?state=queued"
_WAIT_MS = 15_000.0
"""Longer than a page waits with nothing announced."""
_KEEP = "() => { window.kept = document.querySelector('#live') }"
_IS_UPDATED = "() => window.kept !== document.querySelector('#live')"
_BOXES = """() => [...document.querySelectorAll('#job-rows tr, #job-rows td, #job-rows th, .pager')]
  .map(one => one.getBoundingClientRect()).map(box => [box.x, box.y, box.width, box.height])"""
_HEADS = """() => Object.fromEntries([
  ...document.querySelectorAll('h2, dt, th, svg.life-drawing, #curl')]
  .map(one => [one.tagName + (one.id || one.textContent.trim().slice(0, 30)), one])
  .map(([name, one]) => [name.replace(/\\s.*/s, ''), Math.round(one.getBoundingClientRect().y)]))"""
_HIDE = """() => {
  Object.defineProperty(document, 'hidden', { value: %s, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
_UNSELECT = "() => getSelection().removeAllRanges()"
_POINTER = "() => { document.body.dispatchEvent(new PointerEvent('pointer%s', { bubbles: true })) }"
_PLACE_OF_TABLE = "() => document.querySelector('.table-frame').scrollLeft"


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _account(system: RunningSystem) -> None:
    await system.deployment.open_account("acme", 1_000)


async def queue_jobs(system: RunningSystem, count: int) -> list[Job]:
    """Enqueue jobs for tomorrow."""
    return [await queue_a_job(system) for _ in range(count)]


async def updated(page: Page) -> None:
    """Wait until a live update has replaced what it replaces."""
    await page.wait_for_function(_IS_UPDATED)


async def is_focused(target: Locator) -> Any:
    """Return whether the target has the focus."""
    return await target.evaluate("element => element === document.activeElement")


async def test_an_update_keeps_the_focus_and_how_far_a_table_is_scrolled(
    windows: Windows, system: RunningSystem
) -> None:
    first, second = await queue_jobs(system, 2)
    page = await (await windows.open(Role.OPERATOR, width=900)).open(QUEUED)
    await page.evaluate(_KEEP)
    await row_of(page, second).get_by_role("link", name="Cancel").focus()
    place = await page.evaluate(_PLACE_OF_TABLE)
    assert place > 40
    await system.deployment.producer.cancel(first.id)
    await updated(page)
    assert await is_focused(row_of(page, second).get_by_role("link", name="Cancel"))
    assert await page.evaluate(_PLACE_OF_TABLE) == place

    # Its button is gone with the next update: its row keeps the focus.
    await page.evaluate(_KEEP)
    await system.deployment.producer.cancel(second.id)
    await updated(page)
    assert await is_focused(row_of(page, second).get_by_role("link").first)

    overview = await (await windows.open(Role.OPERATOR)).open("/console")
    tile = overview.locator("a.tile", has_text="Failed")
    await overview.evaluate(_KEEP)
    await tile.focus()
    await queue_jobs(system, 1)
    await updated(overview)
    assert await is_focused(tile)


async def test_rows_stay_where_they_are_when_jobs_come_and_leave(
    windows: Windows, system: RunningSystem
) -> None:
    jobs = await queue_jobs(system, 3)
    page = await (await windows.open(Role.OPERATOR)).open(QUEUED)
    before = await page.evaluate(_BOXES)
    await system.deployment.producer.cancel(jobs[2].id)
    await expect(row_of(page, jobs[2])).to_contain_text("cancelled", timeout=_WAIT_MS)
    assert await page.evaluate(_BOXES) == before
    changed = page.get_by_role("link", name="The list has changed: show it")
    await expect(changed).to_be_visible()
    (newest,) = await queue_jobs(system, 1)
    arrived = page.get_by_role("link", name="Newer jobs have arrived: show them")
    await expect(arrived).to_be_visible(timeout=_WAIT_MS)
    assert await page.evaluate(_BOXES) == before
    await arrived.click()
    await expect(row_of(page, newest)).to_be_visible()
    await expect(row_of(page, jobs[2])).to_have_count(0)
    assert page.url.endswith(QUEUED)


@pytest.mark.parametrize(
    "events",
    [
        (job_events.Claimed, job_events.Submitted, job_events.Progressed, job_events.Completed),
        (job_events.Claimed, job_events.OutcomeUnknown, job_events.SubmissionLost),
        (job_events.Claimed, job_events.Submitted, job_events.ProviderFailed),
        (job_events.Cancelled,),
    ],
    ids=["succeeded", "unknown", "failed", "cancelled"],
)
async def test_no_part_of_the_page_of_a_job_moves_while_the_job_goes_on(
    windows: Windows, system: RunningSystem, events: Sequence[type[job_events.Event]]
) -> None:
    setup = DatabaseSetup(system.deployment.database)
    job = await setup.enqueue(webhook_url="https://hooks.example/end")
    page = await (await windows.open(Role.OPERATOR)).open(f"/console/jobs/{job.id}")
    before = await page.evaluate(_HEADS)
    assert {"H2Images", "H2Credits", "H2Webhooks", "H2Events", "svgQueued", "PREcurl"} <= set(
        before
    )
    for event in events:
        job = await setup.move(job, event)
        await page.evaluate(_KEEP)
        await page.evaluate("() => { htmx.trigger('#live', 'refresh') }")
        await updated(page)
        after = await page.evaluate(_HEADS)
        # Images have no place where none will come; it stays empty on a page that is open.
        assert {name: after.get(name) for name in before if name != "H2Images"} == {
            name: place for name, place in before.items() if name != "H2Images"
        }
    await expect(page.get_by_role("heading", level=1)).to_contain_text(job.state)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (_HIDE % "true", _HIDE % "false"),
        ("() => getSelection().selectAllChildren(document.querySelector('h1'))", _UNSELECT),
        (_POINTER % "down", _POINTER % "up"),
    ],
    ids=["hidden", "selected in", "pressed in"],
)
async def test_a_page_asks_for_nothing_while_it_is_hidden_selected_or_pressed_in(
    windows: Windows, system: RunningSystem, begin: str, end: str
) -> None:
    await queue_jobs(system, 1)
    page = await (await windows.open(Role.OPERATOR)).open(QUEUED)
    other = await (await windows.open(Role.OPERATOR)).open(QUEUED)
    for one in (page, other):
        await expect(one.get_by_role("button", name="Live")).to_be_visible()
    await page.evaluate(begin)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await queue_jobs(system, 1)
    arrived = "Newer jobs have arrived: show them"
    await expect(other.get_by_role("link", name=arrived)).to_be_visible(timeout=_WAIT_MS)
    assert asked == []
    await page.evaluate(end)
    await expect(page.get_by_role("link", name=arrived)).to_be_visible(timeout=_WAIT_MS)


async def test_a_page_that_gets_no_answer_says_how_old_it_is_until_it_is_read_again(
    windows: Windows, system: RunningSystem
) -> None:
    (job,) = await queue_jobs(system, 1)
    window = await windows.open(Role.OPERATOR)
    page = await window.open(QUEUED)
    live = page.get_by_role("button", name="Live")
    await expect(live).to_be_visible()
    await page.route("**/console/jobs?*", lambda route: route.abort())
    await queue_jobs(system, 1)
    stale = page.get_by_role("alert")
    await expect(stale).to_contain_text(
        "Darkroom does not answer. What you see is of", timeout=_WAIT_MS
    )
    await expect(page.get_by_role("button", name="Waiting")).to_be_visible()
    assert await page.evaluate(
        "() => getComputedStyle(document.querySelector('#live')).filter"
    ) == ("grayscale(1)")
    await window.check_accessibility()
    await system.deployment.producer.cancel(job.id)
    await page.unroute("**/console/jobs?*")
    await expect(row_of(page, job)).to_contain_text("cancelled", timeout=_WAIT_MS)
    await expect(stale).to_be_hidden()
    await expect(live).to_be_visible()
    outage = [one for one in window.faults if "net::" in one or "htmx:" in one]
    assert outage == window.faults
    window.faults.clear()


async def test_the_end_of_a_session_leads_to_the_login_and_back_to_the_same_page(
    windows: Windows, system: RunningSystem
) -> None:
    key = await system.key_of(Role.OPERATOR)
    await queue_jobs(system, 1)
    window = await windows.open()
    window.allow_status(401)
    page = await window.open("/console/login")
    await log_in(page, key)
    await page.get_by_role("button", name="Log out").wait_for()
    page = await window.open(QUEUED)
    await page.evaluate(_KEEP)
    await page.context.clear_cookies()
    await queue_jobs(system, 1)
    await expect(page.get_by_label("API key")).to_be_visible(timeout=_WAIT_MS)
    await log_in(page, key)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    assert page.url == window.url + QUEUED
