"""The overview: what is wrong stands on top with what helps, and nothing looks dead that lives."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from producer.console.pages.overview_page import RANGES
from producer.keys.roles import Role
from shared.adapters.redis.deliveries import connect_redis
from shared.domain.lifecycle import Reason
from shared.redis_keys import WIPED_KEY
from tests.acceptance.test_http_access import key_of
from tests.support.console_client import ConsoleClient, browsing
from tests.support.deployment import Deployment, text_to_image
from worker.batching.redis_scripts import RedisScripts
from worker.limits.account_brake import AccountBrake

MARKUP = "<script>alert(1)</script>\"'&"
_ASSET = re.compile(r'(?:href|src)="(/console/static/[^"]+\.(?:css|js))"')


@asynccontextmanager
async def open_console(deployment: Deployment) -> AsyncIterator[ConsoleClient]:
    async with deployment.api() as api, browsing(api) as browser:
        yield browser


async def test_before_the_first_job_the_page_says_how_to_enqueue_one(
    deployment: Deployment,
) -> None:
    async with open_console(deployment) as browser:
        text = (await browser.get("/console")).expect(200)
    assert "No job yet" in text
    assert "darkroom enqueue" in text
    assert "No worker is alive" in text
    assert "No job has failed" in text


async def test_a_healthy_queue_says_so_while_nothing_waits(deployment: Deployment) -> None:
    async with deployment.worker(), open_console(deployment) as browser:
        await deployment.ended(await deployment.enqueue())
        text = (await browser.get("/console")).expect(200)
    assert "All is well: nothing waits" in text
    assert "1 worker is alive." in text
    assert "1 job ended in the last 5 minutes, 1 today" in text
    assert "No job yet" not in text


async def test_jobs_without_a_worker_are_reported_with_the_command_that_starts_one(
    deployment: Deployment,
) -> None:
    await deployment.enqueue()
    async with open_console(deployment) as browser:
        text = (await browser.get("/console")).expect(200)
    assert '<div class="alert bad" role="alert">' in text
    assert '<code class="command">darkroom worker</code>' in text
    assert "All is well" not in text


async def test_submits_that_kie_refuses_are_reported_with_kies_words_and_what_waits(
    deployment: Deployment,
) -> None:
    await deployment.enqueue()
    url = deployment.settings.redis_url
    assert url is not None
    async with (
        connect_redis(url.get_secret_value()) as redis,
        aclosing(RedisScripts(redis)) as scripts,
    ):
        brake = AccountBrake(scripts)
        await brake.family_brake("gpt-4o-image").record_wrong_endpoint(uuid4(), "404")
        async with open_console(deployment) as browser:
            in_part = (await browser.get("/console")).expect(200)
        await brake.apply(Reason.ACCOUNT_REFUSED, f"402: no credits {MARKUP}")
        async with open_console(deployment) as browser:
            text = (await browser.get("/console")).expect(200)
        viewer = await key_of(deployment, Role.VIEWER)
        async with deployment.api() as api, browsing(api, viewer) as browser:
            seen_by_viewer = (await browser.get("/console")).expect(200)
    assert "braked: gpt-4o-image" in in_part
    assert "going on" not in in_part, "submits of one model do not"
    assert "Submits by the Kie account default are paused" in text
    assert "402: no credits &lt;script&gt;" in text
    assert MARKUP not in text
    assert 'href="/console/brakes/default/end">Let submits go on</a>' in text
    assert "Submits by the Kie account default are paused" in seen_by_viewer
    assert "Let submits go on" not in seen_by_viewer, "a viewer may not"
    assert "account refused, ends" in text, "the table of Kie accounts says so, too"


async def test_a_wiped_redis_and_an_unknown_submission_are_told(deployment: Deployment) -> None:
    async with deployment.worker():
        deployment.simulator.set_faults(lost_reply=1.0)
        await deployment.in_state(await deployment.enqueue(), "unknown")
        url = deployment.settings.redis_url
        assert url is not None
        async with connect_redis(url.get_secret_value()) as redis:
            await redis.set(WIPED_KEY, int(time.time() * 1000), ex=60)
            key = await key_of(deployment, Role.OPERATOR)
            async with deployment.api() as api, browsing(api, key) as browser:
                text = (await browser.get("/console")).expect(200)
                path = "/console/alerts/redis_was_wiped/acknowledge"
                done = await browser.post(path, {})
                repeated = await browser.post(path, {})
                is_told = await redis.exists(WIPED_KEY)
    entries = await deployment.producer.billing.audit(act="alert_acknowledged")
    assert [(one["via"], one["subject"]) for one in entries] == [
        ("console", "alert redis_was_wiped")
    ]
    assert (done.location, repeated.location, is_told) == ("/console", "/console", 0)
    assert f'action="{path}"' in text
    assert "Redis lost its keys while workers ran" in text
    assert "1 submission has an unknown outcome" in text
    assert 'href="/console/jobs?state=unknown">Resolve these jobs</a>' in text


async def test_a_failed_job_is_one_click_away_with_its_reason(deployment: Deployment) -> None:
    async with deployment.worker(), open_console(deployment) as browser:
        deployment.simulator.set_faults(outcome="content_policy")
        job = await deployment.ended(await deployment.enqueue(text_to_image(f"a prompt {MARKUP}")))
        text = (await browser.get("/console")).expect(200)
        assert (await browser.get(f"/console/jobs/{job.id}")).status == 200
    assert f'href="/console/jobs/{job.id}"' in text
    assert "content policy" in text
    assert re.search(r'<a class="tile bad" href="/console/jobs\?state=failed">', text)
    assert MARKUP not in text


@pytest.mark.parametrize("name", RANGES)
async def test_a_script_reads_the_plots_again_by_the_same_address(
    deployment: Deployment, name: str
) -> None:
    await deployment.enqueue()
    await deployment.database.fetch("sample_history", {"default": {"budget": 20}})
    async with open_console(deployment) as browser:
        answer = await browser.get(f"/console?range={name}", Accept="application/json")
        update = (await browser.get(f"/console?range={name}", HX_Request="true")).expect(200)
        page = (await browser.get(f"/console?range={name}")).expect(200)
    plots = json.loads(answer.expect(200))
    assert answer.headers["Cache-Control"] == "no-store"
    assert plots["end"] - plots["begin"] == RANGES[name] * 3600
    assert plots["plots"]["depth"]["series"][0]["values"][-1] == 1
    assert plots["plots"]["budget:default"]["series"][1]["values"][-1] == 20
    assert len(update) < len(page)
    shown = set(re.findall(r'data-plot-name="([^"]+)"', page))
    assert shown == set(plots["plots"])


async def test_an_unknown_range_shows_the_last_hour(deployment: Deployment) -> None:
    async with open_console(deployment) as browser:
        text = (await browser.get("/console?range=%3Cyear%3E")).expect(200)
    assert 'aria-current="true">Last hour</a>' in text
    assert "<year>" not in text


async def test_the_first_load_is_below_100_kb_compressed(deployment: Deployment) -> None:
    """With an hour of samples, each with other values."""
    await deployment.database.fetch("sample_history", {"default": {"budget": 20}})
    await deployment.run_sql(
        "INSERT INTO history_samples SELECT (jsonb_populate_record(one, jsonb_build_object("
        " 'starts_at', $1::timestamptz - number * interval '15 s', 'queued', number * 7919 % 1000,"
        " 'run_p50_seconds', number * 0.137, 'run_p95_seconds', number * 0.211))).*"
        " FROM history_samples AS one, generate_series(2, 241) AS number"
        " WHERE interval_seconds = 15",
        (datetime.now(UTC) - timedelta(seconds=15)).replace(second=0, microsecond=0),
    )
    async with open_console(deployment) as browser:
        page = (await browser.get("/console")).expect(200)
        sizes = {"page": len(gzip.compress(page.encode(), 9))}
        for path in sorted(set(_ASSET.findall(page))):
            body = (await browser.get(path)).expect(200).encode()
            sizes[path] = len(gzip.compress(body, 9))
    assert len(sizes) > 4
    assert sum(sizes.values()) < 100_000, sizes


async def test_the_accounts_that_wait_are_listed_with_weights_and_limits(
    deployment: Deployment,
) -> None:
    await deployment.producer.set_account_limits("acme", weight=2.5, max_open_jobs=5)
    async with open_console(deployment) as browser:
        assert "Who waits" not in (await browser.get("/console")).expect(200)
    for _ in range(3):
        await deployment.enqueue(priority="low")
    await deployment.run_sql("DELETE FROM chosen_jobs")
    async with open_console(deployment) as browser:
        text = (await browser.get("/console")).expect(200)
    section = text.partition("<h2>Who waits</h2>")[2].partition("</section>")[0]
    for cell in (
        "acme</a>",
        "<td>low</td>",
        ">3</td>",
        ">2.5</td>",
        "0 of 5",
        "no worker is alive",
    ):
        assert cell in section, section
