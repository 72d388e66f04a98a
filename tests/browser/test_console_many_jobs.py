"""Many jobs in the console, in a real browser: all that match, and chosen rows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from producer.keys.roles import Role
from tests.browser.browser_windows import Windows
from tests.browser.running_system import RunningSystem
from tests.browser.stocked_system import StockedSystem, stocked_system
from tests.browser.test_console_jobs import fail_a_job, queue_a_job, row_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNRETRIED = (
    "SELECT count(*) AS jobs FROM jobs WHERE state = 'failed'"
    " AND NOT EXISTS (SELECT FROM jobs AS again WHERE again.retry_of = jobs.id)"
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stocked(system: RunningSystem) -> AsyncIterator[StockedSystem]:
    """A job in every state."""
    async with stocked_system(system) as stocked:
        yield stocked


@pytest.mark.drives("retry_jobs")
async def test_from_the_failed_count_all_failed_jobs_are_retried_in_three_clicks(
    windows: Windows, stocked: StockedSystem
) -> None:
    run_sql = stocked.system.deployment.run_sql
    job = await fail_a_job(stocked.system)
    count = (await run_sql(UNRETRIED))[0]["jobs"]
    noun = "job" if count == 1 else "jobs"
    window = await windows.open(Role.OPERATOR)
    page = await window.open("/console")
    await page.get_by_role("link", name="Failed").click()
    await page.get_by_role("link", name=f"Retry {count} failed {noun}").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"Retry {count} {noun}?")
    # The number stands in the focus: typing it needs no further click.
    await page.keyboard.type(str(count))
    await page.get_by_role("button", name=f"Retry {count} {noun}").click()
    await expect(page.get_by_role("status").first).to_contain_text("retried")
    await expect(page.get_by_role("row").filter(has_text=str(job.id))).to_be_visible()
    (retry,) = await run_sql("SELECT id FROM jobs WHERE retry_of = $1", job.id)
    await expect(page.get_by_role("link", name=str(retry["id"]))).to_be_visible()
    assert (await run_sql(UNRETRIED))[0]["jobs"] == 0
    await window.check_accessibility()


@pytest.mark.drives("cancel_jobs")
async def test_chosen_rows_are_counted_kept_by_live_updates_and_cancelled(
    windows: Windows, stocked: StockedSystem
) -> None:
    system = stocked.system
    jobs = [await queue_a_job(system) for _ in range(3)]
    page = await (await windows.open(Role.OPERATOR, width=390)).open("/console/jobs?state=queued")
    for job in jobs[:2]:
        await row_of(page, job).get_by_role("checkbox").check()
    await expect(page.get_by_text("2 selected:")).to_be_visible()
    # A new job would refresh the list, which waits while rows are chosen.
    await queue_a_job(system)
    await expect(row_of(page, jobs[0]).get_by_role("checkbox")).to_be_checked()
    await page.get_by_role("button", name="Cancel selected").click()
    await page.get_by_label("Type 2 to confirm").fill("2")
    await page.get_by_role("button", name="Cancel 2 jobs").click()
    await expect(page.get_by_role("status").first).to_contain_text("2 jobs were cancelled")
    ids = [job.id for job in jobs]
    rows = await system.deployment.run_sql(
        "SELECT state FROM jobs WHERE id = ANY($1) ORDER BY id", ids
    )
    assert [row["state"] for row in rows] == ["cancelled", "cancelled", "queued"]
