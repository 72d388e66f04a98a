"""The overview in a browser: figures follow the queue, plots stay where they are."""

from __future__ import annotations

import time

import pytest
from playwright.async_api import FloatRect, Locator, Page, expect

from producer.console.history_plots import QUEUE_PLOTS
from producer.keys.roles import Role
from producer.monitoring.overview import FAILURES_SHOWN
from shared.adapters.redis.deliveries import connect_redis
from shared.domain.job_events import HeldForReview
from shared.domain.lifecycle import JobState
from shared.redis_keys import WIPED_KEY
from tests.browser.browser_windows import Windows
from tests.browser.running_system import RunningSystem
from tests.integration.database.database_setup import DatabaseSetup

pytestmark = pytest.mark.asyncio(loop_scope="session")
_WAIT_MS = 15_000.0
"""Longer than a page waits with nothing announced."""
_MARK_CANVASES = """() => document.querySelectorAll('[data-plot-name] canvas')
  .forEach(one => { one.dataset.marked = 'yes'; })"""
_WATCH_SHIFTS = """() => {
  window.shifts = [];
  new PerformanceObserver((list) => {
    window.shifts.push(...list.getEntries().filter((one) => !one.hadRecentInput)
      .map((one) => [one.value, ...one.sources.map((part) => part.node && part.node.textContent)]));
  }).observe({ type: "layout-shift" });
}"""
_SHIFTS = """async () => {
  for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
  return window.shifts;
}"""
_PUSH_DOWN = """async () => {
  // The browser excuses what comes within half a second of a click.
  await new Promise((done) => setTimeout(done, 600));
  const block = document.createElement("div");
  block.style.blockSize = "100px";
  document.querySelector("#main").prepend(block);
}"""
_TEXT_BEGINS_INSIDE = """(one) => {
  one.textContent = "Show: " + "Kie answered 402 and more. ".repeat(20);
  const text = document.createRange();
  text.selectNodeContents(one);
  return text.getBoundingClientRect().left >= one.getBoundingClientRect().left;
}"""
_SAMPLES = """
INSERT INTO history_samples
SELECT (jsonb_populate_record(one, jsonb_build_object(
           'starts_at', one.starts_at - number * interval '15 s', 'queued', number % 40))).*
  FROM history_samples AS one, generate_series(1, 200) AS number WHERE interval_seconds = 15
"""


async def _open_overview(windows: Windows, system: RunningSystem) -> Page:
    database = system.deployment.database
    await database.pool.execute("DELETE FROM history_samples")
    await database.fetch("sample_history", {"default": {"budget": 20, "budget_used": 4}})
    await database.pool.execute(_SAMPLES)
    window = await windows.open(Role.VIEWER)
    page = await window.open("/console")
    await expect(page.locator("[data-plot-name] canvas").first).to_be_visible()
    return page


async def _boxes(*located: Locator) -> list[FloatRect]:
    boxes = [await one.bounding_box() for one in located]
    return [one for one in boxes if one is not None]


async def test_figures_follow_the_queue_without_a_reload_and_plots_are_not_drawn_anew(
    windows: Windows, system: RunningSystem
) -> None:
    deployment = system.deployment
    await deployment.open_account("acme", 100)
    jobs = [await deployment.enqueue() for _ in range(3)]
    page = await _open_overview(windows, system)
    waiting = page.locator(".tile", has_text="Waiting").locator(".tile-value")
    await expect(waiting).to_have_text("3")
    await expect(page.locator(".alert.bad")).to_contain_text("no worker", ignore_case=True)
    await page.evaluate(_MARK_CANVASES)
    await deployment.producer.cancel(jobs[0].id)
    await expect(waiting).to_have_text("2", timeout=_WAIT_MS)
    await expect(page.locator("[data-plot-name] canvas:not([data-marked])")).to_have_count(0)

    await page.get_by_role("button", name="Live").click()
    await expect(page.get_by_role("button", name="Paused")).to_be_visible()
    follower = await (await windows.open(Role.VIEWER)).open("/console")
    await deployment.producer.cancel(jobs[1].id)
    other = follower.locator(".tile", has_text="Waiting").locator(".tile-value")
    await expect(other).to_have_text("1", timeout=_WAIT_MS)
    await expect(waiting).to_have_text("2")
    await page.get_by_role("button", name="Paused").click()
    await expect(waiting).to_have_text("1", timeout=_WAIT_MS)


async def test_new_alerts_move_nothing_below_them_until_somebody_asks_for_them(
    windows: Windows, system: RunningSystem
) -> None:
    deployment = system.deployment
    await deployment.open_account("shift", 100)
    setup = DatabaseSetup(deployment.database)
    page = await _open_overview(windows, system)
    plots = page.get_by_role("region", name="History")
    place = await plots.bounding_box()
    await page.evaluate(_WATCH_SHIFTS)
    held = await setup.job_in(JobState.GENERATING, account_id="shift")
    await setup.move(held, HeldForReview)
    await setup.job_in(JobState.UNKNOWN, account_id="shift")
    await deployment.producer.pauses.pause("model", "gpt-4o-image", reason="why", actor="maria")
    alerts = page.locator(".alert.bad, .alert.warn")
    await expect(alerts.nth(1)).to_be_attached(timeout=_WAIT_MS)
    await expect(page.locator("#pause-bar .banner")).to_be_attached(timeout=_WAIT_MS)
    assert await page.evaluate(_SHIFTS) == []
    assert await plots.bounding_box() == place
    show = page.get_by_role("button", name="Show: ")
    await expect(show).to_be_in_viewport()
    assert await show.evaluate(_TEXT_BEGINS_INSIDE), "a long title is cut at its end alone"
    await show.click()
    await expect(show).to_be_hidden()
    await expect(alerts.last).to_be_in_viewport()
    moved = await plots.bounding_box()
    assert moved is not None
    assert place is not None
    assert moved["y"] > place["y"]
    # The same without a click: what is watched for does happen.
    await page.evaluate(_PUSH_DOWN)
    assert await page.evaluate(_SHIFTS) != []
    await deployment.producer.pauses.resume_scope("model", "gpt-4o-image")


async def test_the_figures_the_last_failures_and_the_kie_accounts_stand_on_the_first_screen(
    windows: Windows, system: RunningSystem
) -> None:
    deployment = system.deployment
    await deployment.open_account("screen", 100)
    setup = DatabaseSetup(deployment.database)
    failed = [
        await setup.job_in(JobState.FAILED, account_id="screen") for _ in range(FAILURES_SHOWN)
    ]
    page = await (await windows.open(Role.VIEWER, width=1440, height=900)).open("/console")
    lists = page.get_by_role("region", name="Last failures").locator("tbody tr")
    await expect(lists).to_have_count(FAILURES_SHOWN)
    accounts = page.get_by_role("region", name="Kie accounts").locator("tbody tr")
    alert, alerts = await _boxes(page.locator(".alert").first, page.locator("#alerts"))
    # The system is shared: other tests may have left more alerts than one.
    spare = sum(alerts[edge] for edge in ("y", "height")) - sum(
        alert[edge] for edge in ("y", "height")
    )
    for one in await _boxes(page.locator(".tile").last, accounts.last, lists.last):
        assert one["y"] + one["height"] - spare <= 900
    await page.evaluate(_WATCH_SHIFTS)
    newest = await setup.job_in(JobState.FAILED, account_id="screen")
    await expect(lists.first).to_contain_text(str(newest.id), timeout=_WAIT_MS)
    await expect(lists.nth(1)).to_contain_text(str(failed[-1].id))
    assert await page.evaluate(_SHIFTS) == []


async def test_each_plot_has_the_newest_values_and_the_range_is_in_the_address(
    windows: Windows, system: RunningSystem
) -> None:
    page = await _open_overview(windows, system)
    plots = page.locator("[data-plot-name]")
    await expect(plots).to_have_count(len(QUEUE_PLOTS) + 3)
    depth = page.locator('[data-plot-name="depth"] .u-legend')
    await expect(depth).to_contain_text("waiting")
    budget = page.locator('[data-plot-name="budget:default"] .u-legend')
    await expect(budget).to_contain_text("used4")
    # Nothing ended: an axis and no line, and no word of a missing history.
    await expect(page.locator('[data-plot-name="wait"] canvas')).to_be_visible()
    await page.get_by_role("link", name="Last day").click()
    await page.wait_for_url("**/console?range=day")
    await expect(page.locator('[data-plot-name="depth"] canvas')).to_be_visible()


async def test_without_samples_each_plot_says_what_is_missing(
    windows: Windows, system: RunningSystem
) -> None:
    await system.deployment.database.pool.execute("DELETE FROM history_samples")
    window = await windows.open(Role.VIEWER, theme="light")
    page = await window.open("/console")
    await expect(page.locator('[data-plot-name="depth"]')).to_contain_text("No history yet")
    await window.check_accessibility()


@pytest.mark.drives("acknowledge_wipe")
async def test_an_operator_acknowledges_that_redis_was_wiped_and_a_viewer_cannot(
    windows: Windows, system: RunningSystem
) -> None:
    deployment = system.deployment
    url = deployment.settings.redis_url
    assert url is not None
    async with connect_redis(url.get_secret_value()) as redis:
        await redis.set(WIPED_KEY, int(time.time() * 1000), ex=60)
        window = await windows.open(Role.OPERATOR)
        page = await window.open("/console")
        alert = page.locator(".alert", has_text="Redis lost its keys")
        # An API evaluates the alerts every few seconds.
        await expect(alert).to_be_visible(timeout=_WAIT_MS)
        await window.check_accessibility()
        viewer = await (await windows.open(Role.VIEWER)).open("/console")
        await expect(viewer.locator(".alert", has_text="Redis lost its keys")).to_be_visible()
        await expect(viewer.get_by_role("button", name="Acknowledge")).to_have_count(0)
        await alert.get_by_role("button", name="Acknowledge").click()
        await expect(page.get_by_text("Acknowledged: Redis was wiped.")).to_be_visible()
        await expect(alert).to_have_count(0, timeout=_WAIT_MS)
        assert not await redis.exists(WIPED_KEY)
