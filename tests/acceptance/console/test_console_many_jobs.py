"""Many jobs in the console: the count and the filter in words, what it costs, each outcome."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from producer import JobState
from producer.keys.roles import Role
from shared.domain import job_events
from shared.domain.job import Job
from tests.acceptance.test_http_access import key_of
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.api_client import ApiClient
from tests.support.console_client import ConsoleClient, browsing
from tests.support.deployment import Deployment

MANY = "/console/jobs/many"
FAILING = (job_events.Claimed, job_events.Submitted, job_events.ProviderFailed)


@dataclass
class ManyJobs:
    """An operator's browser beside a database with jobs in any state."""

    deployment: Deployment
    api: ApiClient
    browser: ConsoleClient
    setup: DatabaseSetup

    async def text_of(self, path: str, status: int = 200) -> str:
        return html.unescape((await self.browser.get(path)).expect(status))

    async def confirm(self, path: str, typed: str, status: int = 200, **fields: str) -> str:
        """Open the page of an act, type a number into its form, and send it."""
        page = (await self.browser.get(path)).expect(200)
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
        given = {name: html.unescape(value) for name, value in hidden} | {"count": typed, **fields}
        answer = await self.browser.post(path.partition("?")[0], given)
        return html.unescape(answer.expect(status))

    async def failed(self, count: int, account_id: str = "acme") -> list[Job]:
        return [
            await self.setup.job_in(JobState.FAILED, account_id=account_id) for _ in range(count)
        ]


@pytest.fixture
async def many(deployment: Deployment) -> AsyncIterator[ManyJobs]:
    key = await key_of(deployment, Role.OPERATOR)
    async with deployment.api() as api, browsing(api, key) as browser:
        yield ManyJobs(deployment, api, browser, DatabaseSetup(deployment.database))


def link_to(text: str, label: str) -> str:
    """Return where the link with this label leads."""
    found = re.search(rf'<a [^>]*href="([^"]+)"[^>]*>{re.escape(label)}</a>', text)
    assert found, f"no link {label!r}"
    return found[1]


async def test_from_the_failed_count_to_the_retried_jobs_in_three_clicks(many: ManyJobs) -> None:
    jobs = await many.failed(12)
    await many.setup.enqueue()
    overview = await many.text_of("/console")
    listed = await many.text_of(
        re.findall(r'href="(/console/jobs\?state=failed[^"]*)"', overview)[0]
    )
    # htmx puts the buttons of this page into the list.
    acts = await many.text_of(re.findall(r'id="acts"[^>]* hx-get="([^"]+)"', listed)[0])
    done = await many.confirm(link_to(acts, "Retry 12 failed jobs"), "12")
    assert "12 jobs were retried" in done
    assert "72 credits are held." in done
    for job in jobs:
        retry = await many.setup.value("SELECT id::text FROM jobs WHERE retry_of = $1", job.id)
        assert f"/console/jobs/{job.id}" in done
        assert f"/console/jobs/{retry}" in done
    (actor,) = {row["actor"] for row in await many.setup.billing.audit(act="job_retried")}
    assert actor.startswith("console:dk_")
    assert await many.setup.broken_invariants() == {}


async def test_the_buttons_carry_the_count_and_the_filter_in_words(many: ManyJobs) -> None:
    await many.deployment.open_account("other", 100)
    await many.failed(2)
    await many.failed(1, "other")
    for _ in range(3):
        await many.setup.enqueue(priority="high", metadata={"order": 7})
    text = await many.text_of(f"{MANY}?account_id=acme")
    assert link_to(text, "Retry 2 failed jobs of acme").startswith(f"{MANY}/retry?")
    assert link_to(text, "Cancel 3 queued jobs of acme").startswith(f"{MANY}/cancel?")
    for query, label in (
        ("", "Retry 3 failed jobs"),
        ("", "Cancel 3 queued jobs"),
        ("account_id=other", "Retry 1 failed job of other"),
        ("state=queued&priority=high", "Cancel 3 queued high-priority jobs"),
        ("metadata=order=7", "Cancel 3 queued jobs with the metadata order=7"),
        ("reason=provider_failed", "Retry 3 failed jobs for the reason provider_failed"),
        ("created_from=2000-01-01T00:00Z", "Cancel 3 queued jobs since 2000-01-01 00:00:00 UTC"),
    ):
        assert link_to(await many.text_of(f"{MANY}?{query}"), label)
    assert "No job of this list can be" in await many.text_of(f"{MANY}?state=generating")


async def test_the_page_before_says_what_it_costs_whom_and_does_nothing(many: ManyJobs) -> None:
    await many.deployment.open_account("poor", 7)
    await many.failed(2, "poor")
    await many.failed(1)
    text = await many.text_of(f"{MANY}/retry?state=failed")
    assert "Retry 3 jobs?" in text
    row = re.findall(r"<tr><td>poor</td>.*?</tr>", text)[0]
    cells = re.findall(r'<td class="number">([^<]+)</td>', row)
    assert cells == ["2", "12", "7"]
    assert "lacks 5" in row
    assert "Some accounts lack credits" in text
    assert await many.setup.value("SELECT count(*) FROM jobs WHERE retry_of IS NOT NULL") == 0
    done = await many.confirm(f"{MANY}/retry?state=failed", "3")
    assert "2 jobs were retried" in done
    assert "1 job was refused" in done
    assert "account 'poor' needs 6 credits but has 1 available" in done
    assert await many.setup.broken_invariants() == {}


async def test_chosen_rows_are_cancelled_and_those_at_kie_are_counted_apart(
    many: ManyJobs,
) -> None:
    queued = [await many.setup.enqueue() for _ in range(3)]
    running = await many.setup.job_in(JobState.GENERATING)
    listed = await many.text_of("/console/jobs")
    boxes = re.findall(r'name="job" value="([^"]+)" form="chosen"', listed)
    assert set(boxes) == {str(job.id) for job in queued}
    ended = await many.setup.job_in(JobState.SUCCEEDED)
    chosen = urlencode([("job", str(job.id)) for job in (*queued[:2], running, ended)])
    text = await many.text_of(f"{MANY}/cancel?{chosen}")
    assert "Cancel 3 jobs?" in text
    assert "1 job is at Kie" in text
    assert f"job {ended.id} is succeeded: it has ended" in text
    page = (await many.browser.get(f"{MANY}/cancel?{chosen}")).text
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    answer = await many.browser.send_form(
        f"{MANY}/cancel", [*hidden, ("count", "3")], Origin=many.browser.origin
    )
    done = answer.expect(200)
    assert "2 jobs were cancelled" in done
    assert "12 credits are released." in done
    assert "The cancel of 1 job at Kie was requested" in done
    states = [(await many.setup.store.load(job.id)).state for job in queued]
    assert states == [JobState.CANCELLED, JobState.CANCELLED, JobState.QUEUED]
    assert "select jobs in the list first" in await many.text_of(f"{MANY}/cancel", 422)


@pytest.mark.parametrize("typed", ["", "2", "30", "three"])
async def test_another_number_than_the_one_that_is_shown_does_nothing(
    many: ManyJobs, typed: str
) -> None:
    await many.failed(3)
    text = await many.confirm(f"{MANY}/retry?state=failed", typed, 422)
    assert "type 3 to confirm" in text
    assert "Retry 3 jobs?" in text
    assert await many.setup.value("SELECT count(*) FROM jobs WHERE retry_of IS NOT NULL") == 0


@pytest.mark.parametrize("forged", ["abc", "\u00b2", "-1", "1e3", "9" * 40])
async def test_a_forged_number_is_refused_as_a_field(many: ManyJobs, forged: str) -> None:
    await many.failed(3)
    fields = {"state": "failed", "shown": forged, "count": forged}
    refused = await many.browser.post(f"{MANY}/retry", fields)
    assert "type the number to confirm" in refused.expect(422)
    assert await many.setup.value("SELECT count(*) FROM jobs WHERE retry_of IS NOT NULL") == 0


async def test_jobs_that_fail_after_the_page_was_shown_are_not_part_of_it(many: ManyJobs) -> None:
    old = await many.setup.enqueue()
    shown = await many.failed(2)
    page = (await many.browser.get(f"{MANY}/retry?state=failed")).expect(200)
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    later = await many.failed(1)
    first = await many.browser.post(f"{MANY}/retry", {**fields, "count": "2"})
    assert "2 jobs were retried" in first.expect(200)
    assert await many.setup.value(
        "SELECT array_agg(retry_of) FROM jobs WHERE retry_of IS NOT NULL"
    ) == [job.id for job in sorted(shown, key=lambda job: job.id)]
    repeated = (await many.browser.post(f"{MANY}/retry", {**fields, "count": "2"})).expect(200)
    assert "No job matches any more" in repeated
    assert "0 jobs" not in repeated
    # An older job that fails only now makes it another number, which is shown instead.
    again = (await many.browser.get(f"{MANY}/retry?state=failed")).expect(200)
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', again))
    await many.setup.move(old, *FAILING)
    refused = await many.browser.post(f"{MANY}/retry", {**fields, "count": "1"})
    assert "2 jobs match by now, not 1: confirm the new number" in refused.expect(422)
    assert later[0].state is JobState.FAILED


async def test_a_viewer_has_neither_boxes_nor_buttons_and_is_refused(many: ManyJobs) -> None:
    jobs = await many.failed(2)
    key = await key_of(many.deployment, Role.VIEWER)
    async with browsing(many.api, key) as viewer:
        listed = (await viewer.get("/console/jobs?state=failed")).expect(200)
        assert str(jobs[0].id) in listed
        assert 'type="checkbox"' not in listed
        assert 'id="acts"' not in listed
        (await viewer.get(MANY)).expect(403)
        for act in ("retry", "cancel"):
            (await viewer.get(f"{MANY}/{act}?state=failed")).expect(403)
            fields = {"state": "failed", "shown": "2", "count": "2"}
            (await viewer.post(f"{MANY}/{act}", fields)).expect(403)
    assert await many.setup.value("SELECT count(*) FROM jobs WHERE retry_of IS NOT NULL") == 0


async def test_texts_of_callers_are_escaped_on_these_pages(many: ManyJobs) -> None:
    bad = "<script>alert(1)</script>"
    await many.deployment.open_account(bad, 100)
    (job,) = await many.failed(1, bad)
    query = urlencode({"account_id": bad, "state": "failed"})
    for path in (f"{MANY}?{query}", f"{MANY}/retry?{query}"):
        text = (await many.browser.get(path)).expect(200)
        assert bad not in text
        assert html.escape(bad) in text
    page = (await many.browser.get(f"{MANY}/retry?{query}")).text
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    fields = {name: html.unescape(value) for name, value in hidden} | {"count": "1"}
    done = (await many.browser.post(f"{MANY}/retry", fields)).expect(200)
    assert str(job.id) in done
    assert bad not in done


async def test_what_cannot_be_read_or_contradicts_itself_is_refused(many: ManyJobs) -> None:
    for path, status, sentence in (
        (f"{MANY}/retry?job=12", 422, "is no id of a job"),
        (f"{MANY}/retry?state=faild", 422, "must be one of"),
        (f"{MANY}/cancel?state=failed", 409, "only an open job can be cancelled"),
        (f"{MANY}/retry?state=succeeded", 409, "a success is retried only with again"),
        (f"{MANY}/retry?state=failed&below=x", 422, "is not the place of a page"),
        (f"{MANY}?stat=failed&state=x", 422, "must be one of"),
    ):
        assert sentence in await many.text_of(path, status), path
    assert "No job to retry" in await many.text_of(f"{MANY}/retry?state=failed")
