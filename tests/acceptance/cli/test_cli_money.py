"""Accounts and prices on the command line."""

from __future__ import annotations

from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment, text_to_image

TWO_IMAGES = ("gpt-4o-image", "text-to-image", "2")


async def test_an_account_is_created_granted_and_shown(darkroom: Darkroom) -> None:
    created = await darkroom.run("accounts", "create", "shop", "--credits", "12.5", "--json")
    assert created.code == 0
    assert created.object.keys() == {"id", "balance", "held", "available", "created_at"}
    assert created.object["available"] == 12.5
    assert (await darkroom.run("accounts", "create", "shop")).code == 1
    granted = await darkroom.run("accounts", "grant", "shop", "7.5", "--reason", "invoice 17")
    assert granted.lines == ["shop: 20 credits available (balance 20, held by open jobs 0)"]
    taken = await darkroom.run("accounts", "grant", "shop", "-5", "--reason", "typo", "--json")
    assert taken.object["balance"] == 15
    shown = await darkroom.run("accounts", "show", "shop", "--json")
    assert shown.object == taken.object


async def test_the_ledger_is_newest_first_and_paged(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    job = await deployment.enqueue()
    ledger = await darkroom.run("accounts", "ledger", "acme", "--json")
    assert [entry["kind"] for entry in ledger.objects] == ["hold", "grant"]
    assert ledger.objects[0]["job_id"] == str(job.id)
    assert ledger.objects[0]["credits"] == 6
    page = await darkroom.run("accounts", "ledger", "acme", "--limit", "1")
    assert str(job.id) in page.out
    below = str(ledger.objects[0]["id"])
    assert f"--below {below}" in page.err


async def test_a_price_is_changed_with_its_consequences(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    await deployment.enqueue(text_to_image(quantity=2))
    said = await darkroom.run("prices", "set", *TWO_IMAGES, "10", "--reason", "summer")
    assert said.code == 0
    assert "7 → 10 credits" in said.out
    assert "margin +3 (30 %)" in said.err
    assert "1 open job will be charged" in said.err
    quoted = darkroom.elsewhere(CHARGE_BASIS="quoted")
    lower = await quoted.run("prices", "set", *TWO_IMAGES, "6", "--reason", "autumn", "--json")
    assert lower.object["credits_before"] == 10
    assert lower.object["open_jobs_touched"] == 0
    history = (await darkroom.run("prices", "history", "--json")).objects
    assert [version["reason"] for version in history[:2]] == ["autumn", "summer"]
    assert history[0]["valid_to"] is None
    assert "in force" in (await darkroom.run("prices", "history", "--limit", "1")).out


async def test_the_prices_in_force_are_listed_with_their_margin(darkroom: Darkroom) -> None:
    listed, shown = await darkroom.run_all(("prices", "list", "--json"), ("prices", "list"))
    prices = listed.objects
    assert [price["credits"] for price in prices] == [6, 7, 8, 6, 7, 8]
    assert prices[0].keys() >= {"model", "task", "quantity", "provider_credits", "updated_at"}
    assert "margin" in shown.lines[0]
