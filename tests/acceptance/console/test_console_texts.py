"""Texts of callers and of Kie on every page: escaped everywhere, and masked for viewers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

from producer.actor import Actor
from producer.console.page_table import ACTIONS, PAGES
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.domain import job_events
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from tests.acceptance.console.test_console_access import path_of, stored
from tests.acceptance.test_http_access import key_of
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.console_client import browsing
from tests.support.deployment import Deployment, text_to_image
from tests.support.example_jobs import polled
from tests.support.told_by_kie import tell_of_model, tell_of_surprise

MARK = "h0stile"
HOSTILE = (
    f"<img src={MARK} onerror=alert(1)>'\" onclick={MARK} &lt;{{{{7*7}}}}</script><script>{MARK}"
)
URLS = [
    f"javascript:alert('{MARK}')",
    f'https://tempfile.aiquickdraw.com/{MARK}"onerror=alert(1)//',
    f"data:text/html,<script>{MARK}</script>",
]
SECRET = "pr1vate"
ENDED_BY_KIE = {JobState.SUCCEEDED, JobState.FAILED}


class Tags(HTMLParser):
    """Finds what a text has become that was not escaped: tags, handlers, scripts, links."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if any(name.startswith("on") for name in given):
            self.faults.append(f"<{tag}> has a handler: {given}")
        if tag == "script" and not (given.get("src") or "").startswith("/console/static/"):
            self.faults.append(f"<script> of no file of ours: {given}")
        if tag == "img" and given.get("src") == MARK:
            self.faults.append("the text became an image")
        for name in ("href", "src", "action", "formaction", "hx-get"):
            value = given.get(name)
            if value is not None and not re.match(r"(/|#|https?://)", value):
                self.faults.append(f"<{tag} {name}={value!r}>")


async def make_hostile_jobs(deployment: Deployment) -> dict[JobState, Job]:
    """Make a job in each state, with a hostile text wherever a text may be."""
    setup = DatabaseSetup(deployment.database)
    account = f"h0stile\"'<b>&{MARK}"
    await setup.open_account(account, 1_000)
    options: Mapping[str, Any] = {
        "metadata": {HOSTILE: HOSTILE},
        "webhook_url": f"https://hooks.example/{MARK}",
        "idempotency_key": f"{HOSTILE[:80]}",
    }
    jobs = {}
    for number, state in enumerate(JobState):
        given = {**options, "idempotency_key": f"{number}{HOSTILE[:80]}"}
        before = JobState.GENERATING if state in ENDED_BY_KIE else state
        request = text_to_image(HOSTILE)
        jobs[state] = await setup.job_in(before, request=request, account_id=account, **given)
    await end_with(setup, jobs, URLS, HOSTILE, HOSTILE)
    await deployment.run_sql("UPDATE job_attempts SET message = $1, worker = $1", HOSTILE)
    await deployment.run_sql("UPDATE webhook_messages SET last_error = $1", HOSTILE)
    return jobs


async def make_hostile_money(deployment: Deployment, charged: Job) -> None:
    """Change, schedule and refund with a hostile reason by a hostile actor."""
    billing, key = deployment.producer.billing, ("gpt-4o-image", "text-to-image", 1)
    by = Actor(HOSTILE, via="cli", os_user=HOSTILE, origin=HOSTILE)
    await billing.set_price(key, Decimal(9), reason=HOSTILE, actor=by)
    await billing.price_changes.schedule(
        key,
        Decimal(8),
        at=datetime.now(UTC) + timedelta(days=1),
        reason=HOSTILE,
        actor=by,
    )
    await billing.grant(charged.account_id, Decimal(5), HOSTILE, actor=by)
    await billing.refund(charged.id, reason=HOSTILE, actor=by)


async def make_hostile_reports(deployment: Deployment) -> None:
    """Let Kie's catalogue and its responses have a hostile text wherever it may be."""
    await tell_of_model(
        deployment,
        HOSTILE,
        family="gpt-4o-image",
        task="text-to-image",
        missing_parts=[HOSTILE],
        price_text=HOSTILE,
    )
    await tell_of_surprise(deployment, "gpt-4o-image", HOSTILE, HOSTILE)


async def end_with(
    setup: DatabaseSetup,
    jobs: Mapping[JobState, Job],
    urls: Sequence[str],
    message: str,
    answer: str,
) -> None:
    """End two jobs by these images and this message, and hold one for this answer of Kie."""
    delivered = job_events.Completed(tuple(urls))
    await setup.store.settle(polled(jobs[JobState.SUCCEEDED]), delivered, "current")
    failed = job_events.ProviderFailed("provider_failed", message)
    await setup.store.fail(polled(jobs[JobState.FAILED]), failed)
    await setup.store.hold_for_review(
        polled(jobs[JobState.GENERATING]),
        job_events.HeldForReview("result_unreadable", message, answer),
    )


async def test_every_text_is_escaped_on_every_page(deployment: Deployment) -> None:
    jobs = await make_hostile_jobs(deployment)
    _, key = await KeyStore(deployment.database).create(Role.ADMIN, name=HOSTILE[:150])
    await make_hostile_money(deployment, jobs[JobState.SUCCEEDED])
    await make_hostile_reports(deployment)
    shown = [page for page in PAGES if not page.is_stream and not page.is_file]
    paths = {path_of(page.path) for page in shown}
    paths |= {path_of(action.path) for action in ACTIONS if action.form is not None}
    paths |= {f"/console/margin?by={group}" for group in ("model", "account")}
    hostile = {"/jobs/{id}": [str(job.id) for job in jobs.values()]}
    hostile["/accounts/{id}"] = [quote(jobs[JobState.SUCCEEDED].account_id, safe="")]
    forms = [action for action in ACTIONS if action.form is not None]
    for path in {page.path for page in shown} | {form.path for form in forms}:
        for start, ids in hostile.items():
            if path.startswith(start):
                paths |= {f"/console{path.replace('{id}', one)}" for one in ids}
    await deployment.producer.pauses.pause(
        "account", jobs[JobState.SUCCEEDED].account_id, reason=HOSTILE
    )
    async with deployment.api() as api, browsing(api) as browser:
        (await browser.log_in(key)).expect(303)
        await browser.get("/console", User_Agent=HOSTILE)
        paths |= {f"/console/jobs?account_id={MARK}%22%3E%3Cimg", "/console/%3Cscript%3E"}
        before = await stored(deployment)
        hits: dict[str, int] = {}
        for path in sorted(paths):
            answer = await browser.get(path)
            assert answer.status in {200, 404, 422}, f"{path}: {answer.text[-2000:]}"
            tags = Tags()
            tags.feed(answer.text)
            assert not tags.faults, f"{path}: {tags.faults}"
            hits[path] = answer.text.count(MARK)
            assert "{{" not in answer.text.replace("{{7*7}}", ""), path
            assert f"<img src={MARK}" not in answer.text, path
        for path in (
            "",
            "/jobs",
            "/accounts",
            "/audit",
            "/models",
            "/pauses",
            "/prices",
            "/margin?by=account",
        ):
            assert hits[f"/console{path}"], f"{path} shows what was written"
        assert sum(hits.values()) > 150, "the texts were shown"
    assert await stored(deployment) == before, "looking changes nothing"


async def test_a_viewer_sees_no_prompt_image_or_metadata_on_any_page(
    deployment: Deployment,
) -> None:
    setup = DatabaseSetup(deployment.database)
    jobs = {
        state: await setup.job_in(
            JobState.GENERATING if state in ENDED_BY_KIE else state,
            request=text_to_image(f"{SECRET} prompt"),
            metadata={SECRET: SECRET},
            webhook_url=f"https://{SECRET}.example/hook",
            idempotency_key=f"{SECRET}-{state}",
        )
        for state in JobState
    }
    await end_with(setup, jobs, [f"https://{SECRET}.example/1"], "no images", SECRET)
    keys = {role: await key_of(deployment, role) for role in (Role.VIEWER, Role.OPERATOR)}
    paths = {path_of(page.path) for page in PAGES if not page.is_stream}
    paths |= {f"/console/jobs/{job.id}" for job in jobs.values()}
    async with deployment.api() as api, deployment.api(viewers_see_prompts=True) as open_api:
        async with browsing(api, keys[Role.VIEWER]) as browser:
            for path in sorted(paths):
                answer = await browser.get(path)
                assert SECRET not in answer.text, path
            for query in (f"metadata={SECRET}={SECRET}", f"idempotency_key={SECRET}-queued"):
                answer = await browser.get(f"/console/jobs?{query}")
                assert "is not for viewers" in answer.expect(422)
                assert not re.search(r'<tr id="job-', answer.text)
        page = f"/console/jobs/{jobs[JobState.QUEUED].id}"
        for one, role in ((api, Role.OPERATOR), (open_api, Role.VIEWER)):
            async with browsing(one, keys[role]) as browser:
                assert SECRET in (await browser.get(page)).expect(200)
