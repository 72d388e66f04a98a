"""What an admin deletes in the console: prompts of an account, its webhook secret, old data."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from producer.keys.roles import Role
from shared.domain.lifecycle import JobState
from tests.acceptance.test_http_access import key_of
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.aged_jobs import age
from tests.support.console_client import ConsoleClient, browsing
from tests.support.deployment import Deployment
from tests.support.stored_images import add_stored_image

ACME = "/console/accounts/acme"
SECRET = f"{ACME}/webhook-secret"
RETENTION = "/console/retention"


@asynccontextmanager
async def visiting(deployment: Deployment, role: Role) -> AsyncIterator[ConsoleClient]:
    key = await key_of(deployment, role)
    async with deployment.api() as api, browsing(api, key) as browser:
        yield browser


async def acts(deployment: Deployment, act: str) -> list[tuple[str, str | None]]:
    """Return by which program and why an act was done."""
    entries = await deployment.producer.billing.audit(act=act)
    return [(entry["via"], entry["reason"]) for entry in entries]


async def test_an_erasure_needs_the_typed_account_and_is_shown_with_how_far_it_is(
    deployment: Deployment,
) -> None:
    setup = DatabaseSetup(deployment.database)
    ended = await setup.job_in(JobState.SUCCEEDED)
    await setup.job_in(JobState.QUEUED)
    await add_stored_image(setup, ended)
    advice = "1 copy of an image stays in the store, sent to nobody, until `darkroom results prune"
    async with visiting(deployment, Role.ADMIN) as admin:
        assert "None was requested" in (await admin.get(ACME)).expect(200)
        form = (await admin.get(f"{ACME}/erase")).expect(200)
        assert "1 ended job<" in form
        assert "1 open job<" in form
        assert advice in form
        for fields, sentence in (
            ({"reason": "asked"}, "type acme to confirm"),
            ({"reason": "asked", "account": "acm"}, "type acme to confirm"),
            ({"reason": " ", "account": "acme"}, "say why"),
        ):
            assert sentence in (await admin.post(f"{ACME}/erase", fields)).expect(422)
        assert (await setup.book.get(ended.id)).request != {}
        done = await admin.post(f"{ACME}/erase", {"reason": "asked", "account": "acme"})
        assert done.location == ACME
        text = (await admin.get(ACME)).expect(200)
        assert "Erased of 1 job. Workers erase the rest, 1 of them when they end." in text
        assert "goes on" in text
        # The notice of the erasure says it, and so does the list, for as long as it is so.
        assert text.count(advice) == 2
        assert (await admin.get(ACME)).expect(200).count(advice) == 1
        (await admin.get("/console/accounts/nobody/erase")).expect(404)
    assert (await setup.book.get(ended.id)).request == {}
    assert await acts(deployment, "prompts_erased") == [("console", "asked")]


async def test_the_secret_of_an_account_is_made_shown_rotated_and_removed(
    deployment: Deployment,
) -> None:
    secrets = deployment.producer.webhooks.account_secrets
    async with visiting(deployment, Role.ADMIN) as admin:
        assert "No secret" in (await admin.get(SECRET)).expect(200)
        (await admin.get(f"{SECRET}/rotate")).expect(404)
        assert (await admin.post(f"{SECRET}/make")).location == SECRET
        first = (await secrets.show("acme"))["secret"]
        answer = await admin.get(SECRET)
        assert first in answer.expect(200)
        assert "no-store" in answer.headers["Cache-Control"]
        # Made twice, it is the same.
        assert (await admin.post(f"{SECRET}/make")).location == SECRET
        for act in ("rotate", "remove"):
            (await admin.get(f"{SECRET}/{act}")).expect(200)
            refused = await admin.post(f"{SECRET}/{act}", {"account": "other"})
            assert "type acme to confirm" in refused.expect(422)
        assert (await secrets.show("acme"))["secret"] == first
        assert (await admin.post(f"{SECRET}/rotate", {"account": "acme"})).location == SECRET
        second = (await secrets.show("acme"))["secret"]
        assert second != first
        assert "ends at once" in (await admin.get(f"{SECRET}/rotate")).expect(200)
        assert (await admin.post(f"{SECRET}/remove", {"account": "acme"})).location == SECRET
        assert "No secret" in (await admin.get(SECRET)).expect(200)
    for act in ("webhook_secret_created", "webhook_secret_rotated", "webhook_secret_revoked"):
        assert await acts(deployment, act) == [("console", None)]


async def test_a_prune_needs_the_typed_number_of_rows(deployment: Deployment) -> None:
    setup = DatabaseSetup(deployment.database)
    job = await setup.job_in(JobState.SUCCEEDED)
    kept = await setup.job_in(JobState.FAILED)
    async with visiting(deployment, Role.ADMIN) as admin:
        assert "Nothing is older" in (await admin.get(RETENTION)).expect(200)
        assert "Nothing to prune" in (await admin.get(f"{RETENTION}/prune")).expect(200)
        await age(setup, job.id, days=500)
        assert "Prune now" in (await admin.get(RETENTION)).expect(200)
        found = re.search(
            r'name="shown" value="(\d+)"', (await admin.get(f"{RETENTION}/prune")).text
        )
        assert found is not None
        shown = {"shown": found[1]}
        for typed in ("", "x", f"1{found[1]}"):
            refused = await admin.post(f"{RETENTION}/prune", {**shown, "rows": typed})
            assert f"type {found[1]} to confirm" in refused.expect(422)
        assert (await setup.book.get(job.id)).pruned_at is None
        done = await admin.post(f"{RETENTION}/prune", {**shown, "rows": found[1]})
        assert done.location == RETENTION
        assert "Nothing is older" in (await admin.get(RETENTION)).expect(200)
    assert (await setup.book.get(job.id)).pruned_at is not None
    assert (await setup.book.get(kept.id)).pruned_at is None
    assert {via for via, _ in await acts(deployment, "data_pruned")} == {"console"}
    assert await setup.broken_invariants() == {}


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_others_see_how_long_data_is_kept_and_delete_nothing(
    deployment: Deployment, role: Role
) -> None:
    setup = DatabaseSetup(deployment.database)
    await age(setup, (await setup.job_in(JobState.SUCCEEDED)).id, days=500)
    async with visiting(deployment, role) as browser:
        assert "Prune now" not in (await browser.get(RETENTION)).expect(200)
        text = (await browser.get(ACME)).expect(200)
        assert "/erase" not in text
        assert "/webhook-secret" not in text
        (await browser.get(SECRET)).expect(403)
