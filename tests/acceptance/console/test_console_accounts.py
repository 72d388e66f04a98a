"""The pages of accounts, the margin and the audit: figures, grants, refunds, CSV."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal

import pytest

from producer.keys.roles import Role
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from tests.acceptance.test_http_access import key_of
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.api_client import ApiClient
from tests.support.console_client import ConsoleClient, browsing
from tests.support.deployment import Deployment

ACME = "/console/accounts/acme"


@dataclass
class AdminBrowser:
    """An admin's browser beside a database with a charged job."""

    deployment: Deployment
    api: ApiClient
    browser: ConsoleClient
    setup: DatabaseSetup
    charged: Job
    prefix: str

    async def text_of(self, path: str, status: int = 200) -> str:
        """Return the HTML of a page."""
        return (await self.browser.get(path)).expect(status)


@pytest.fixture
async def admin(deployment: Deployment) -> AsyncIterator[AdminBrowser]:
    key = await key_of(deployment, Role.ADMIN)
    setup = DatabaseSetup(deployment.database)
    charged = await setup.job_in(JobState.SUCCEEDED)
    async with deployment.api() as api, browsing(api, key) as browser:
        yield AdminBrowser(deployment, api, browser, setup, charged, key[:15])


def key_in(text: str) -> str | None:
    """Return the idempotency key of the form of a grant."""
    found = re.search(r'name="idempotency_key" value="([^"]+)"', text)
    return found[1] if found else None


async def grant_key(admin: AdminBrowser) -> dict[str, str]:
    """Return the key that a new form of a grant has, as its field."""
    return {"idempotency_key": key_in(await admin.text_of(f"{ACME}/grant")) or ""}


async def test_accounts_are_listed_and_found(admin: AdminBrowser) -> None:
    await admin.setup.open_account("bolt/2&co", 5)
    text = await admin.text_of("/console/accounts")
    assert "9,994" in text
    assert 'href="/console/accounts/bolt%2F2%26co"' in text
    assert "bolt/2&amp;co" in await admin.text_of("/console/accounts/bolt%2F2%26co")
    assert (await admin.browser.get("/console/accounts?id=acme")).location == ACME
    assert "no account has exactly this id" in await admin.text_of("/console/accounts?id=nobody")
    assert "No more accounts" in await admin.text_of("/console/accounts?after=zzz")
    await admin.text_of("/console/accounts/nobody", 404)


async def test_credits_are_granted_and_adjusted_with_a_reason(admin: AdminBrowser) -> None:
    grant = f"{ACME}/grant"
    for fields, sentence in (
        ({"credits": "x", "reason": "x"}, "must be a number"),
        ({"credits": "0", "reason": "x"}, "must be a number"),
        ({"credits": "1000001", "reason": "x"}, "must be a number"),
        ({"credits": "5", "reason": " "}, "say why"),
    ):
        assert sentence in (await admin.browser.post(grant, fields)).expect(422)
    key = await grant_key(admin)
    done = await admin.browser.post(grant, {**key, "credits": "5.5", "reason": "invoice 17"})
    assert done.location == ACME
    debt = {**await grant_key(admin), "credits": "-20000", "reason": "fraud"}
    assert "cannot be taken without a debt" in (await admin.browser.post(grant, debt)).expect(409)
    assert (await admin.browser.post(grant, {**debt, "allow_debt": "yes"})).location == ACME
    text = await admin.text_of(ACME)
    assert "invoice 17" in text
    assert f"console:{admin.prefix}" in text
    assert "-10,000.5" in text
    assert await admin.setup.broken_invariants() == {}


async def test_a_form_that_is_sent_twice_books_once(admin: AdminBrowser) -> None:
    grant = f"{ACME}/grant"
    for credits, balance in (("5", 9_999), ("-4", 9_995), ("0.25", Decimal("9995.25"))):
        fields = {**await grant_key(admin), "credits": credits, "reason": "invoice 17"}
        first, second = await asyncio.gather(*(admin.browser.post(grant, fields) for _ in "ab"))
        assert first.location == second.location == ACME
        assert (await admin.setup.money())[0] == balance
    # The page of before, sent with another number, is a mistake until it is sent with a new key.
    other = await admin.browser.post(grant, {**fields, "credits": "7"})
    assert "booked already, with other values" in other.expect(422)
    assert key_in(other.expect(422)) not in {None, fields["idempotency_key"]}
    refused = await admin.browser.post(grant, {**fields, "credits": "x"})
    assert key_in(refused.expect(422)) == fields["idempotency_key"]
    unkeyed = await admin.browser.post(grant, {"credits": "7", "reason": "invoice 18"})
    assert "send the form again" in unkeyed.expect(422)
    assert (await admin.setup.money())[0] == Decimal("9995.25")
    assert await admin.setup.broken_invariants() == {}


async def test_limits_are_set_and_what_somebody_else_changed_meanwhile_stays(
    admin: AdminBrowser,
) -> None:
    form = f"{ACME}/limits"
    shown = {"shown_weight": "1", "shown_max_queued_jobs": "", "shown_max_credits_per_day": ""}
    rest = {"weight": "1", "max_queued_jobs": "", "max_credits_per_day": "", **shown}
    for fields, sentence in (
        ({"weight": "0"}, "must be a number from 0.01 to 1,000"),
        ({"weight": ""}, "must be a number from 0.01 to 1,000"),
        ({"max_queued_jobs": "many"}, "must be a whole number"),
        ({"max_credits_per_day": "-1"}, "must be a number from 0 to"),
        ({"max_priority": "urgent"}, "must be one of high, normal, low"),
        ({"weight": "2", "reason": "x" * 501}, "has at most 500 characters"),
    ):
        assert sentence in (await admin.browser.post(form, {**rest, **fields})).expect(422)
    assert (await admin.browser.post(form, rest)).location == ACME
    assert "Nothing was changed." in await admin.text_of(ACME)
    await admin.setup.billing.set_account_limits("acme", max_queued_jobs=500)
    done = await admin.browser.post(form, {**rest, "weight": "2.5", "reason": "a contract"})
    assert done.location == ACME
    account = await admin.setup.billing.account("acme")
    assert (account.weight, account.max_queued_jobs) == (2.5, 500)
    for path in (ACME, "/console/accounts"):
        text = await admin.text_of(path)
        assert ">2.5<" in text
        assert ">500<" in text
    assert 'value="2.5"' in await admin.text_of(form)
    (entry, *_) = await admin.setup.billing.audit(limit=1)
    assert (entry["actor"], entry["reason"]) == (f"console:{admin.prefix}", "a contract")


async def test_a_charge_is_refunded_once(admin: AdminBrowser) -> None:
    refund = f"/console/jobs/{admin.charged.id}/refund"
    assert "was charged 6 credits" in await admin.text_of(refund)
    assert "say why" in (await admin.browser.post(refund, {"credits": "2"})).expect(422)
    for credits in ("0", "-1", "x", "1.001"):
        answer = await admin.browser.post(refund, {"credits": credits, "reason": "x"})
        assert "must be a number above 0" in answer.expect(422)
    too_much = await admin.browser.post(refund, {"credits": "7", "reason": "x"})
    assert "at most the 6 credits" in too_much.expect(409)
    done = await admin.browser.post(refund, {"reason": "blurred"})
    assert done.location == f"/console/jobs/{admin.charged.id}"
    assert "6 credits were returned to acme." in await admin.text_of(done.location)
    again = await admin.browser.post(refund, {"reason": "blurred"})
    assert "was refunded already" in again.expect(409)
    assert "This job was refunded already" in await admin.text_of(refund)
    uncharged = await admin.setup.job_in(JobState.FAILED)
    assert "There is nothing to refund" in await admin.text_of(
        f"/console/jobs/{uncharged.id}/refund"
    )
    assert await admin.setup.money() == (10_000, 0)
    assert await admin.setup.broken_invariants() == {}


async def test_the_statement_of_a_month_is_shown_and_downloaded(admin: AdminBrowser) -> None:
    text = await admin.text_of(ACME)
    assert "10,000" in text
    assert str(admin.charged.id) in text
    answer = await admin.browser.get(f"{ACME}/statement.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    rows = list(csv.DictReader(io.StringIO(answer.expect(200))))
    assert [(row["kind"], row["credits"]) for row in rows] == [
        ("grant", "10000"),
        ("capture", "-6"),
    ]
    assert "No line in this month" in await admin.text_of(f"{ACME}?month=2025-12")
    for month in ("2025-13", "x", "1999-01"):
        await admin.text_of(f"{ACME}?month={month}", 422)
        await admin.text_of(f"{ACME}/statement.csv?month={month}", 422)


async def test_the_margin_is_that_of_http(admin: AdminBrowser) -> None:
    await admin.deployment.producer.billing.refund(admin.charged.id, reason="blurred")
    for group in ("day", "model", "account"):
        text = await admin.text_of(f"/console/margin?by={group}&days=7")
        assert "loss -6" in text
    assert "lowest margin first" in text
    for query in ("by=week", "days=8", "days=x"):
        await admin.text_of(f"/console/margin?{query}", 422)


async def test_the_audit_shows_who_did_what_from_where(admin: AdminBrowser) -> None:
    fields = {**await grant_key(admin), "credits": "5", "reason": "invoice 17"}
    await admin.browser.post(f"{ACME}/grant", fields)
    text = await admin.text_of("/console/audit?act=credits_granted")
    assert f"console:{admin.prefix}" in text
    assert "invoice 17" in text
    assert "127.0.0.1" in text
    assert "9994 → 9999" in text
    assert "No entry matches" in await admin.text_of("/console/audit?actor=nobody")
    for query in ("act=theft", "job_id=x"):
        assert 'aria-invalid="true"' in await admin.text_of(f"/console/audit?{query}", 422)


async def test_viewers_see_money_and_change_nothing(admin: AdminBrowser) -> None:
    key = await key_of(admin.deployment, Role.VIEWER)
    async with browsing(admin.api, key) as viewer:
        for path in ("/console/prices", "/console/accounts", ACME, "/console/margin"):
            text = (await viewer.get(path)).expect(200)
            assert "/change" not in text
            assert "/grant" not in text
        (await viewer.get("/console/audit")).expect(403)
