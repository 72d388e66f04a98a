"""Pauses in the console: the bar on every page, the form with its confirmation, the resume."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Mapping

import pytest

from producer.console.page_table import PAGES
from producer.keys.roles import Role
from tests.acceptance.console.test_console_access import path_of
from tests.acceptance.test_http_access import key_of
from tests.support.console_client import ConsoleClient, browsing
from tests.support.deployment import Deployment

NEW = "/console/pauses/new"
FORM = {"scope": "account", "value": "acme", "reason": "they asked", "ends": "3600", "until": ""}
HOSTILE = "<script>h0stile</script>'\""


@pytest.fixture
async def operator(deployment: Deployment) -> AsyncIterator[ConsoleClient]:
    """The console, for an operator."""
    key = await key_of(deployment, Role.OPERATOR)
    async with deployment.api() as api, browsing(api, key) as browser:
        yield browser


async def pauses(deployment: Deployment) -> list[dict[str, object]]:
    return await deployment.run_sql("SELECT * FROM pauses ORDER BY id")


def hidden_fields(text: str) -> dict[str, str]:
    """Return the hidden fields of the form on a page, but its token."""
    pairs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', text)
    return {name: html.unescape(value) for name, value in pairs if name != "form_token"}


async def test_a_pause_is_started_after_a_confirmation_that_counts_its_jobs(
    deployment: Deployment, operator: ConsoleClient
) -> None:
    for _ in range(3):
        await deployment.enqueue()
    (await operator.get(f"{NEW}?scope=account&value=acme")).expect(200)
    asked = (await operator.post(NEW, FORM)).expect(200)
    assert "3 queued jobs" in asked
    assert "in an hour" in asked
    assert await pauses(deployment) == []
    done = await operator.post(NEW, hidden_fields(asked))
    assert done.location == "/console/pauses"
    (row,) = await pauses(deployment)
    assert (row["scope"], row["value"], row["reason"]) == ("account", "acme", "they asked")
    assert str(row["paused_by"]).startswith("console:dk_")
    entry = (await deployment.producer.billing.audit(limit=1))[0]
    assert (entry["act"], entry["via"], entry["reason"]) == (
        "queue_paused",
        "console",
        "they asked",
    )
    # Sent again, by a double click.
    (await operator.post(NEW, hidden_fields(asked))).expect(303)
    resumed = await operator.post(f"/console/pauses/{row['id']}/resume")
    assert resumed.location == "/console/pauses"
    assert "Ended pauses" in (await operator.get("/console/pauses")).expect(200)


async def test_every_page_names_the_active_pauses_with_who_and_why(
    deployment: Deployment, operator: ConsoleClient
) -> None:
    job = await deployment.enqueue()
    pause = await deployment.producer.pauses.pause("everything", reason=HOSTILE, actor=HOSTILE)
    shown = {page.name: path_of(page.path) for page in PAGES if not page.is_stream}
    shown["job"] = f"/console/jobs/{job.id}"
    seen = set()
    for name, path in shown.items():
        answer = await operator.get(path)
        if answer.status == 200:  # others are pages of another role, or of what is not there
            seen.add(name)
            assert "Submits of everything are paused" in answer.text, name
            assert "&lt;script&gt;h0stile" in answer.text, name
            assert "<script>h0stile" not in answer.text, name
            assert f"/console/pauses/{pause.id}/resume" in answer.text, name
    assert seen >= {"overview", "jobs", "job", "pauses", "sessions"}
    await deployment.producer.pauses.resume(pause.id)
    assert "are paused" not in (await operator.get("/console/jobs")).expect(200)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"value": ""}, "name an account"),
        ({"value": "amce"}, "no account has the id"),
        ({"scope": "model", "value": "gpt-4o-imag"}, "is none of these: 4o-image-api, flux1"),
        ({"scope": "kie_account", "value": "studio"}, "is none of these: default"),
        ({"scope": "everything"}, "everything has no name"),
        ({"scope": "all"}, "choose one"),
        ({"reason": ""}, "say why"),
        ({"until": "tomorrow", "ends": ""}, "write a time in UTC"),
        ({"until": "2030-01-31 18:00"}, "choose one end"),
        ({"until": "2020-01-31 18:00", "ends": ""}, "has passed: it is"),
    ],
)
async def test_a_slip_in_the_form_is_shown_beside_what_was_typed(
    deployment: Deployment, operator: ConsoleClient, changes: Mapping[str, str], words: str
) -> None:
    answer = await operator.post(NEW, {**FORM, **changes})
    assert 400 <= answer.status < 500
    text = html.unescape(answer.text)
    assert words in text
    if "reason" not in changes:
        assert "they asked" in text
    assert await pauses(deployment) == []


async def test_a_viewer_starts_and_ends_no_pause(deployment: Deployment) -> None:
    pause = await deployment.producer.pauses.pause("everything", reason="why")
    key = await key_of(deployment, Role.VIEWER)
    async with deployment.api() as api, browsing(api, key) as viewer:
        page = (await viewer.get("/console/pauses")).expect(200)
        assert "Submits of everything are paused" in page
        assert NEW not in page
        assert f"/console/pauses/{pause.id}/resume" not in page
        (await viewer.get(NEW)).expect(403)
        (await viewer.get("/console/brakes/default/end")).expect(403)
        (await viewer.post("/console/brakes/default/end", {"reason": "why"})).expect(403)
        (await viewer.post(NEW, {**FORM, "confirmed": "yes"})).expect(403)
        (await viewer.post(f"/console/pauses/{pause.id}/resume")).expect(403)
    assert [row["resumed_at"] for row in await pauses(deployment)] == [None]


async def test_a_pause_that_is_not_there_is_not_resumed(operator: ConsoleClient) -> None:
    for number in ("999", "0", "-1", "x", "9" * 30):
        (await operator.post(f"/console/pauses/{number}/resume")).expect(404)
