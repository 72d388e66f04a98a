"""The pages of jobs: what they show of each state, what their actions do, what they keep back."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256

import orjson
import pytest

from producer.console.page import CONSOLE
from producer.console.page_table import PAGES
from producer.keys.roles import Role
from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.lifecycle import TRANSITIONS, JobState
from tests.acceptance.test_http_access import key_of
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.api_client import ApiClient
from tests.support.console_client import ConsoleClient, browsing
from tests.support.deployment import Deployment, text_to_image
from tests.support.example_jobs import polled

URL = "https://hooks.example/end"
IMAGE = "https://tempfile.aiquickdraw.com/s/one.png"
FIRST_LOAD_BYTES_MAX = 100_000
NO_JOB = "019f0000-0000-7000-8000-000000000000"
BAD_URL = "javascript:alert(document.domain)"


@dataclass
class OperatorBrowser:
    """An operator's browser beside a database with jobs in any state."""

    deployment: Deployment
    api: ApiClient
    browser: ConsoleClient
    setup: DatabaseSetup

    async def text_of(self, path: str, status: int = 200) -> str:
        """Return the readable HTML of a page."""
        return (await self.browser.get(path)).expect(status)


@pytest.fixture
async def operator(deployment: Deployment) -> AsyncIterator[OperatorBrowser]:
    key = await key_of(deployment, Role.OPERATOR)
    async with deployment.api() as api, browsing(api, key) as browser:
        yield OperatorBrowser(deployment, api, browser, DatabaseSetup(deployment.database))


async def jobs_in_every_state(operator: OperatorBrowser, **options: object) -> dict[JobState, Job]:
    return {state: await operator.setup.job_in(state, **options) for state in JobState}  # type: ignore[arg-type]


def page_of(job: Job) -> str:
    return f"/console/jobs/{job.id}"


# --- the list ---------------------------------------------------------------------------------


async def test_the_list_filters_pages_and_says_what_is_wrong_with_a_filter(
    operator: OperatorBrowser,
) -> None:
    assert "No job yet" in await operator.text_of("/console/jobs")
    jobs = await jobs_in_every_state(operator, metadata={"order": "1042"})
    text = await operator.text_of("/console/jobs")
    rows = re.findall(r'<tr id="job-([0-9a-f-]+)"', text)
    assert rows == sorted((str(job.id) for job in jobs.values()), reverse=True)
    for state in JobState:
        word = f"</svg>{state}</span>"
        assert word in text, state
        listed = await operator.text_of(f"/console/jobs?state={state}")
        assert re.findall(r'<tr id="job-([0-9a-f-]+)"', listed) == [str(jobs[state].id)], state
    for query in (
        "account_id=nobody",
        "metadata=order=1",
        "id=019f0000-0000-7000-8000-000000000000",
    ):
        assert "No job matches" in await operator.text_of(f"/console/jobs?{query}")
    for query, sentence in (
        ("state=lost", "must be one of queued"),
        ("metadata=order", "must be a key, = and its value"),
        ("created_from=yesterday", "must be a time with its timezone"),
        ("cursor=x", "is not the place of a page"),
        ("shown=x", "is not the id of a job"),
        ("stat=failed", "is no filter of this list"),
    ):
        assert sentence in html.unescape(await operator.text_of(f"/console/jobs?{query}", 422)), (
            query
        )


async def test_pages_follow_each_other_and_tell_of_newer_jobs(operator: OperatorBrowser) -> None:
    jobs = [await operator.setup.enqueue() for _ in range(51)]
    first = await operator.text_of("/console/jobs?account_id=acme")
    assert len(re.findall(r'<tr id="job-', first)) == 50
    older = html.unescape(re.findall(r'rel="next" href="([^"]+)"', first)[0])
    second = await operator.text_of(older)
    assert re.findall(r'<tr id="job-([0-9a-f-]+)"', second) == [str(jobs[0].id)]
    assert "account_id=acme" in older
    assert "show them" not in second
    refresh = html.unescape(re.findall(r'data-live="[^"]+" hx-get="([^"]+)"', first)[0])
    assert "Newer jobs have arrived" not in await operator.text_of(refresh)
    newest = await operator.setup.enqueue()
    again = await operator.text_of(refresh)
    assert "Newer jobs have arrived" in again
    assert str(newest.id) not in again
    assert re.findall(r'<tr id="job-[^"]+"', again) == re.findall(r'<tr id="job-[^"]+"', first)


async def test_the_first_load_of_each_page_is_below_100_kb(operator: OperatorBrowser) -> None:
    for number in range(50):
        prompt = " ".join(sha256(f"{number} {word}".encode()).hexdigest() for word in range(4))
        await operator.setup.enqueue(text_to_image(prompt))
    sizes = {}
    for page in [one for one in PAGES if one.nav is not None and Role.OPERATOR in one.roles]:
        answer = await operator.browser.get(CONSOLE + page.path)
        text = answer.expect(200)
        assert answer.headers["Content-Encoding"] == "gzip"
        sizes[page.name] = int(answer.headers["Content-Length"])
        for path in set(re.findall(r'(?:src|href)="(/console/static/[^"]+)"', text)):
            loaded = await operator.browser.get(path)
            loaded.expect(200)
            sizes[page.name] += int(loaded.headers["Content-Length"])
    assert sizes["jobs"] > 30_000
    assert max(sizes.values()) < FIRST_LOAD_BYTES_MAX, sizes
    answer = await operator.browser.get("/console", Accept_Encoding="identity")
    assert "Content-Encoding" not in answer.headers


# --- one job ----------------------------------------------------------------------------------


async def test_the_page_of_a_job_shows_its_life_in_every_state(operator: OperatorBrowser) -> None:
    jobs = await jobs_in_every_state(operator, webhook_url=URL)
    for state, job in jobs.items():
        text = await operator.text_of(page_of(job))
        drawn = re.findall(r'<g class="node([^"]*)">', text)
        assert len(drawn) == len(JobState)
        assert len([one for one in drawn if "current" in one]) == 1, state
        steps = re.search(r'This one went: ([^"]*)"', text)
        assert steps is not None
        assert steps[1].split(", ")[0] == "queued"
        assert steps[1].split(", ")[-1] == state
        assert len(re.findall(r'class="edge taken"', text)) == len(steps[1].split(", ")) - 1
        edges = {(s, one.target) for one in TRANSITIONS for s in one.sources if s != one.target}
        assert len(re.findall(r'class="edge', text)) == len(edges)
    succeeded = await operator.text_of(page_of(jobs[JobState.SUCCEEDED]))
    for sentence in (
        "hold",
        "capture",
        "https://images.example/0.png",
        "Not loaded from this host",
    ):
        assert sentence in succeeded


async def test_a_job_that_came_back_to_the_queue_shows_each_stay(operator: OperatorBrowser) -> None:
    job = await operator.setup.job_in(JobState.GENERATING, attempt=3)
    text = await operator.text_of(page_of(job))
    assert "went: queued, submitting, queued, submitting, queued, submitting, generating" in text
    assert "Queued \u00d7 3" in text
    assert text.count("rate_limited") == 2


async def test_images_are_loaded_from_the_configured_hosts_alone(operator: OperatorBrowser) -> None:
    job = await operator.setup.job_in(JobState.GENERATING)
    delivered = job_events.Completed((IMAGE, BAD_URL))
    await operator.setup.store.settle(polled(job), delivered, "current")
    for path in (page_of(job), "/console/jobs"):
        answer = await operator.browser.get(path)
        shown = re.findall(r'<img data-thumb src="([^"]+)"', answer.expect(200))
        assert shown == [IMAGE], path
        assert "https://tempfile.aiquickdraw.com" in answer.headers["Content-Security-Policy"]
    assert f'href="{BAD_URL}"' not in await operator.text_of(page_of(job))
    assert 'referrerpolicy="no-referrer"' in await operator.text_of(page_of(job))


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("6", "6 as the price says"),
        ("10.5", "10.5 the price says 6"),
        ("0", "0 the price says 6"),
        (None, "6 by the price; Kie did not say"),
    ],
)
async def test_a_success_shows_what_kie_charged_beside_what_the_price_says(
    operator: OperatorBrowser, told: str | None, shown: str
) -> None:
    job = await operator.setup.job_in(JobState.GENERATING)
    consumed = None if told is None else Decimal(told)
    delivered = job_events.Completed((IMAGE,), consumed_credits=consumed)
    await operator.setup.store.settle(polled(job), delivered, "current")
    text = await operator.text_of(page_of(job))
    fact = re.search("<dt>Kie charged</dt><dd>(.*?)</dd>", text)
    assert fact is not None
    assert " ".join(re.sub("<[^>]+>", " ", fact[1]).split()) == shown
    (attempt,) = (await operator.deployment.producer.job_details(job.id))["attempts"]
    assert (attempt["consumed_credits"], attempt["expected_credits"]) == (consumed, 6)


async def test_a_job_that_its_route_cannot_carry_says_what_to_do(operator: OperatorBrowser) -> None:
    producer = operator.deployment.producer
    await producer.models.route("gpt-4o-image", "4o-image-api")
    job = await operator.setup.enqueue()
    event = job_events.RouteUnfit("4o-image-api", "it has no field quantity", 3600.0)
    await operator.setup.store.record_route_unfit(job, event)
    text = await operator.text_of(page_of(job))
    assert "it has no field quantity" in text
    assert 'href="/console/models">See the route</a>' in text
    assert "It goes on by itself when the route is taken back. Cancel it to release" in text


async def test_the_curl_command_places_the_same_order_without_a_key(
    operator: OperatorBrowser,
) -> None:
    job = await operator.setup.enqueue(
        metadata={"note": "it's $HOME `id`"}, webhook_url=URL, priority="high"
    )
    text = html.unescape(await operator.text_of(page_of(job)))
    command = re.search(r'<pre tabindex="0" id="curl"><code>(.*?)</code>', text, re.DOTALL)
    assert command is not None
    words = shlex.split(command[1])
    assert words[:3] == ["curl", "-X", "POST"]
    assert "Authorization: Bearer $DARKROOM_API_KEY" in words
    assert "dk_" not in command[1]
    body = orjson.loads(words[words.index("-d") + 1])
    assert body["metadata"] == {"note": "it's $HOME `id`"}
    admin = await key_of(operator.deployment, Role.ADMIN)
    again = (await operator.api.with_key(admin).post("/v1/jobs", body)).expect(202)
    first = (await operator.api.with_key(admin).get(f"/v1/jobs/{job.id}")).expect(200)
    for name in ("account_id", "model", "task", "request", "metadata", "priority"):
        assert again[name] == first[name], name


# --- actions ----------------------------------------------------------------------------------


async def test_a_queued_job_is_cancelled_after_a_question(operator: OperatorBrowser) -> None:
    job = await operator.setup.enqueue()
    assert "Cancel this job?" in await operator.text_of(f"{page_of(job)}/cancel")
    done = await operator.browser.post(f"{page_of(job)}/cancel")
    assert done.location == page_of(job)
    assert "The job was cancelled. 6 credits were released." in await operator.text_of(page_of(job))
    cancelled = await operator.deployment.producer.get(job.id)
    assert (cancelled.state, cancelled.reason) == ("cancelled", "cancelled_by_operator")
    again = await operator.browser.post(f"{page_of(job)}/cancel")
    assert "only an open job can be cancelled" in html.unescape(again.expect(409))


async def test_of_a_job_at_kie_the_page_says_what_a_cancel_means_and_offers_it_once(
    operator: OperatorBrowser,
) -> None:
    job = await operator.setup.job_in(JobState.GENERATING)
    listed = (await operator.browser.get("/console/jobs")).expect(200)
    assert f'id="cancel-{job.id}"' in listed
    question = await operator.text_of(f"{page_of(job)}/cancel")
    assert "a success is charged 6 credits and has its images" in question
    done = await operator.browser.post(f"{page_of(job)}/cancel")
    assert done.location == page_of(job)
    text = await operator.text_of(page_of(job))
    assert "The cancel was requested." in text
    assert "Kie takes no task back, so it ends by Kie" in text
    for path in (page_of(job), "/console/jobs"):
        assert f"{page_of(job)}/cancel" not in (await operator.browser.get(path)).expect(200)
    assert "Its cancel was requested" in await operator.text_of(f"{page_of(job)}/cancel")


async def test_from_the_failed_jobs_to_the_retried_one_are_two_clicks(
    operator: OperatorBrowser,
) -> None:
    job = await operator.setup.job_in(JobState.FAILED)
    listed = await operator.text_of("/console/jobs?state=failed")
    [ask] = re.findall(r'href="(/console/jobs/[^"]+/retry)"', listed)
    question = await operator.text_of(ask)
    assert "the retry holds" in question
    done = await operator.browser.post(ask)
    retried = await operator.deployment.producer.get(done.location.rpartition("/")[2])
    assert (retried.retry_of, retried.state) == (job.id, "queued")
    shown = await operator.text_of(done.location)
    assert "Retried as this job. 6 credits are held." in shown
    again = await operator.browser.post(ask)
    assert again.location == done.location, "a job is retried once"
    assert "It was retried already" in await operator.text_of(ask)
    assert str(retried.id) in await operator.text_of(page_of(job))


async def test_a_success_is_charged_again_only_if_checked(operator: OperatorBrowser) -> None:
    job = await operator.setup.job_in(JobState.SUCCEEDED)
    ask = f"{page_of(job)}/retry"
    assert "a second time" in await operator.text_of(ask)
    assert "a retry is charged as well" in (await operator.browser.post(ask)).expect(409)
    (await operator.browser.post(ask, {"again": "yes"})).expect(303)
    waiting = await operator.setup.job_in(JobState.QUEUED)
    refused = await operator.browser.post(f"{page_of(waiting)}/retry")
    assert "only an ended job is retried" in refused.expect(409)


async def test_a_webhook_is_sent_again_from_the_page_of_its_job(operator: OperatorBrowser) -> None:
    job = await operator.setup.job_in(JobState.SUCCEEDED, webhook_url=URL)
    other = await operator.setup.job_in(JobState.SUCCEEDED, webhook_url=URL)
    await operator.deployment.run_sql("UPDATE webhook_messages SET state = 'dead'")
    text = await operator.text_of(page_of(job))
    assert "job.succeeded" in text
    [replay] = re.findall(r'action="(/console/jobs/[^"]+/replay)"', text)
    (await operator.browser.post(replay.replace(str(job.id), str(other.id)))).expect(422)
    (await operator.browser.post(f"{page_of(job)}/webhooks/msg_0/replay")).expect(422)
    assert (await operator.browser.post(replay)).location == f"{page_of(job)}#webhooks"
    rows = await operator.deployment.run_sql("SELECT job_id, state FROM webhook_messages")
    assert {row["job_id"]: row["state"] for row in rows} == {job.id: "pending", other.id: "dead"}


async def test_an_unknown_submission_is_resolved_with_a_reason(operator: OperatorBrowser) -> None:
    lost = await operator.setup.job_in(JobState.UNKNOWN)
    found = await operator.setup.job_in(JobState.UNKNOWN)
    assert "Kie made no task" in await operator.text_of(f"{page_of(lost)}/resolve")
    for fields, fault in (
        ({}, "choose one"),
        ({"verdict": "lost"}, "say why"),
        ({"verdict": "submitted"}, "name the task"),
        ({"verdict": "lost", "reason": "x" * 501}, "at most 500"),
    ):
        refused = await operator.browser.post(f"{page_of(lost)}/resolve", fields)
        assert fault in refused.expect(422)
    done = await operator.browser.post(
        f"{page_of(lost)}/resolve", {"verdict": "lost", "reason": "not in Kie's log"}
    )
    assert done.location == page_of(lost)
    assert (await operator.deployment.producer.get(lost.id)).state == "failed"
    fields = {"verdict": "submitted", "task_id": "task-77", "reason": ""}
    await operator.browser.post(f"{page_of(found)}/resolve", fields)
    assert (await operator.deployment.producer.get(found.id)).provider_task_id == "task-77"
    [entry] = await operator.deployment.run_sql(
        "SELECT actor, via, reason FROM audit_entries WHERE job_id = $1", lost.id
    )
    assert entry["actor"].startswith("console:dk_")
    assert (entry["via"], entry["reason"]) == ("console", "not in Kie's log")


async def test_a_success_that_cannot_be_read_is_resolved_with_its_images(
    operator: OperatorBrowser,
) -> None:
    held = await operator.setup.job_in(JobState.GENERATING)
    await operator.setup.move(held, job_events.HeldForReview)
    fields = {"verdict": "delivered", "result_urls": "", "reason": "seen at Kie"}
    refused = await operator.browser.post(f"{page_of(held)}/resolve", fields)
    text = refused.expect(422)
    assert "name each image" in text
    assert "seen at Kie" in text, "what was typed is kept"
    fields["result_urls"] = f"{IMAGE}\r\n"
    (await operator.browser.post(f"{page_of(held)}/resolve", fields)).expect(303)
    done = await operator.deployment.producer.get(held.id)
    assert (done.state, done.result_urls, done.credits_charged) == ("succeeded", (IMAGE,), 6)


async def test_a_job_that_does_not_exist_has_a_page_that_says_so(operator: OperatorBrowser) -> None:
    for path in ("/console/jobs/nonsense", f"/console/jobs/{NO_JOB}"):
        assert "no job has the id" in await operator.text_of(path, 404)
        for act in ("cancel", "retry", "resolve"):
            (await operator.browser.get(f"{path}/{act}")).expect(404)
            (await operator.browser.post(f"{path}/{act}")).expect(404)


async def test_a_waiting_job_says_its_place_and_what_decides_it(operator: OperatorBrowser) -> None:
    deployment = operator.deployment
    await deployment.producer.set_account_limits("acme", weight=2, max_open_jobs=5)
    job = await deployment.enqueue(priority="low")
    text = await operator.text_of(f"/console/jobs/{job.id}")
    assert "Position 1, not known: no worker is alive" in text
    assert "Its priority is low. Its account has the weight 2 and at most 5 open at once." in text
    assert "position 1" in await operator.text_of("/console/jobs")
