"""Accounts and prices on the command line."""

from __future__ import annotations

from producer.accounts.account_limits import LIMIT_NAMES
from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment, text_to_image

TWO_IMAGES = ("gpt-4o-image", "text-to-image", "2")


async def test_an_account_is_created_granted_and_shown(darkroom: Darkroom) -> None:
    created = await darkroom.run("accounts", "create", "shop", "--credits", "12.5", "--json")
    assert created.code == 0
    limits = {*LIMIT_NAMES, "credits_today"}
    assert created.object.keys() == {"id", "balance", "held", "available", "created_at", *limits}
    assert created.object["available"] == 12.5
    assert (await darkroom.run("accounts", "create", "shop")).code == 1
    granted = await darkroom.run("accounts", "grant", "shop", "7.5", "--reason", "invoice 17")
    assert granted.lines == ["shop: 20 credits available (balance 20, held by open jobs 0)"]
    taken = await darkroom.run("accounts", "grant", "shop", "-5", "--reason", "typo", "--json")
    assert taken.object["balance"] == 15
    shown = await darkroom.run("accounts", "show", "shop", "--json")
    assert shown.object.items() <= taken.object.items()


async def test_a_grant_that_is_repeated_with_its_key_adds_nothing(darkroom: Darkroom) -> None:
    grant = ("accounts", "grant", "acme", "5", "--reason", "invoice 17", "--idempotency-key", "i17")
    first, again = [await darkroom.run(*grant, "--json") for _ in range(2)]
    assert (first.object["is_replayed"], again.object["is_replayed"]) == (False, True)
    assert {**again.object, "is_replayed": False} == first.object
    told = await darkroom.run(*grant)
    assert "nothing was added: the key was used for this grant at " in told.err
    other = await darkroom.run(*grant[:3], "6", *grant[4:])
    assert other.code == 1
    assert "differs in: credits" in other.err


async def test_limits_are_set_shown_and_taken_away_again(darkroom: Darkroom) -> None:
    changed = await darkroom.run(
        *("accounts", "limits", "acme", "--weight", "2.5", "--max-queued-jobs", "500"),
        *("--max-credits-per-day", "99.5", "--max-priority", "low", "--json"),
    )
    assert {name: changed.object[name] for name in LIMIT_NAMES} == {
        "weight": 2.5,
        "max_open_jobs": None,
        "max_queued_jobs": 500,
        "max_credits_per_day": 99.5,
        "max_priority": "low",
    }
    listed, shown = await darkroom.run_all(("accounts", "list"), ("accounts", "show", "acme"))
    lifted = await darkroom.run(
        *("accounts", "limits", "acme", "--max-queued-jobs", "none", "--reason", "a quiet week")
    )
    assert "weight 2.5; queued jobs at most 500" in " ".join(listed.out.split())
    assert shown.lines[1] == (
        "limits: weight 2.5; open jobs without limit; queued jobs at most 500; credits of a day at"
        " most 99.5, 0 used today; priority up to low"
    )
    assert "queued jobs without limit" in lifted.out
    for bad in (("--weight", "0"), ("--max-open-jobs", "1.5"), ("--max-priority", "urgent")):
        refused = await darkroom.run("accounts", "limits", "acme", *bad)
        assert refused.code == 1
        assert bad[0].strip("-").replace("-", "_") in refused.err
    for typo in (("--weight", "none"), ("--max-open-jobs", "many"), ("--reason", "why")):
        assert (await darkroom.run("accounts", "limits", "acme", *typo)).code == 2


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


async def test_a_slip_is_refused_off_a_terminal_without_yes(darkroom: Darkroom) -> None:
    for credits in ("1", "0", "70"):
        said = await darkroom.run("prices", "set", *TWO_IMAGES, credits, "--reason", "x")
        assert said.code == 1
        assert f"credits from 7 to {credits} is a change of more than 5 times" in said.err
        assert "--yes" in said.err
    for credits in ("6.123456", "1000001", "7,5"):
        said = await darkroom.run("prices", "set", *TWO_IMAGES, credits, "--reason", "x")
        assert (said.code, credits in said.err) == (2, True)
    long = await darkroom.run("prices", "set", *TWO_IMAGES, "9", "--reason", "x" * 501)
    assert (long.code, "501 characters; at most 500" in long.err) == (2, True)
    typo = await darkroom.run("prices", "set", "gpt4o", *TWO_IMAGES[1:], "9", "--reason", "x")
    assert (typo.code, "gpt-4o-image text-to-image 2" in typo.err) == (1, True)
    done = await darkroom.run(
        *("prices", "set", *TWO_IMAGES, "1", "--provider-credits", "0.5"),
        *("--reason", "x", "--yes", "--json"),
    )
    assert (done.code, done.object["credits"], done.object["provider_credits"]) == (0, 1, 0.5)


async def test_a_change_is_previewed_scheduled_and_revoked(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    await deployment.enqueue(text_to_image(quantity=2))
    preview = await darkroom.run("prices", "preview", *TWO_IMAGES, "5", "--json")
    assert preview.object["open_jobs_effect"] == -2
    assert preview.object["warnings"] == ["the price of 5 is below the 7 that Kie charges"]
    shown = await darkroom.run("prices", "preview", *TWO_IMAGES, "50")
    assert "1 open job hold 7" in shown.out
    assert "it is refused without --yes" in shown.err
    schedule = ("prices", "schedule", *TWO_IMAGES, "9", "--reason", "new year")
    made = await darkroom.run(*schedule, "--at", "2027-12-31T00:00:00Z", "--json")
    assert (made.object["credits"], made.object["reason"]) == (9, "new year")
    assert (await darkroom.run(*schedule, "--at", "2001-01-01T00:00:00Z")).code == 1
    assert (await darkroom.run(*schedule, "--at", "soon")).code == 2
    listed = await darkroom.run("prices", "list")
    assert "new year" in listed.out
    unscheduled = await darkroom.run("prices", "unschedule", str(made.object["id"]))
    assert unscheduled.lines == [f"scheduled price {made.object['id']} is revoked"]
    assert (await darkroom.run("prices", "unschedule", "4711")).code == 3
    outcomes = (await darkroom.run("prices", "scheduled", "--json")).objects
    assert [one["is_revoked"] for one in outcomes] == [True]


async def test_a_price_with_variants_is_named_by_its_variant(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    await deployment.add_prices("painter", "paint", {"1K": 5, "2K": 9})
    price = ("painter", "paint", "1")
    change = ("10", "--reason", "x")
    said = await darkroom.run("prices", "set", *price, *change, "--variant", "2K")
    assert said.lines == ["painter paint \N{MULTIPLICATION SIGN}1 2K: 9 → 10 credits"]
    preview, made, listed, history, *typos = await darkroom.run_all(
        ("prices", "preview", *price, "6", "--variant", "1K", "--json"),
        ("prices", "schedule", *price, *change, "--variant", "1K", "--at", "2027-12-31", "--json"),
        ("prices", "list"),
        ("prices", "history", "--limit", "1", "--json"),
        ("prices", "set", *price, *change),
        ("prices", "set", *price, *change, "--variant", "2k"),
        ("prices", "set", *TWO_IMAGES, *change, "--variant", "2K"),
    )
    assert (preview.object["variant"], preview.object["credits_before"]) == ("1K", 5)
    assert (made.object["variant"], history.object["variant"]) == ("1K", "2K")
    assert [line.split()[3:5] for line in listed.lines if "painter" in line][:2] == [
        ["1K", "5"],
        ["2K", "10"],
    ]
    for typo in typos:
        assert (typo.code, "priced are: " in typo.err) == (1, True)
    of_painter = ["painter paint 1 2K" in typo.err for typo in typos[:2]]
    assert of_painter == [True, True]


async def test_a_charge_is_refunded_and_the_statement_and_the_margin_say_so(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    async with deployment.worker():
        job = await deployment.ended(await deployment.enqueue())
    refund = ("accounts", "refund", str(job.id), "--reason", "blurred")
    assert (await darkroom.run(*refund, "--credits", "7")).code == 1
    given = await darkroom.run(*refund, "--credits", "2.5", "--json")
    assert (given.object["kind"], given.object["credits"]) == ("adjustment", 2.5)
    again = await darkroom.run(*refund)
    assert (again.code, "was refunded already" in again.err) == (1, True)
    shown, as_json, as_csv, margin, accounts = await darkroom.run_all(
        ("accounts", "statement", "acme"),
        ("accounts", "statement", "acme", "--json"),
        ("accounts", "statement", "acme", "--csv"),
        ("margin", "--by", "account", "--json"),
        ("accounts", "list", "--json"),
    )
    assert "opening" in shown.out
    assert as_json.object["totals"] == {
        "grant": 10_000,
        "refund": 2.5,
        "adjustment": 0,
        "capture": -6,
    }
    assert [line.split(",")[2] for line in as_csv.lines] == ["kind", "grant", "capture", "refund"]
    assert (margin.object["name"], margin.object["margin"]) == ("acme", -2.5)
    assert [one["id"] for one in accounts.objects] == ["acme"]


async def test_the_prices_in_force_are_listed_with_their_margin(darkroom: Darkroom) -> None:
    listed, shown = await darkroom.run_all(("prices", "list", "--json"), ("prices", "list"))
    prices = listed.objects
    of_4o = [price["credits"] for price in prices if price["model"] == "gpt-4o-image"]
    assert of_4o == [6, 7, 8, 6, 7, 8]
    assert prices[0].keys() >= {"model", "task", "quantity", "provider_credits", "updated_at"}
    assert "margin" in shown.lines[0]
