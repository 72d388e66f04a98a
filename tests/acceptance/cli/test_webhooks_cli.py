"""`darkroom webhooks`: list and replay messages, read and rotate secrets."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from producer import Job
from producer.cli.command_tree import build_app
from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment

NOBODY = "msg_00000000000070008000000000000000"
URL = "https://shop.example/hook"


async def dead(deployment: Deployment, url: str = f"{URL}?token=hidden") -> Job:
    """Return a job whose webhook was given up."""
    job = await deployment.enqueue(webhook_url=url)
    await deployment.producer.cancel(job.id)
    await deployment.run_sql(
        "UPDATE webhook_messages SET state = 'dead', tries = 12, last_status = 500,"
        " last_error = 'answered 500', last_try_at = now() WHERE job_id = $1",
        job.id,
    )
    return job


async def test_the_list_shows_what_was_not_taken_and_what_to_type(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    job = await dead(deployment)
    pending = await deployment.enqueue(webhook_url=URL)
    await deployment.producer.cancel(pending.id)
    table, listed, only, none = await darkroom.run_all(
        ("webhooks", "list"),
        ("webhooks", "list", "--json"),
        ("webhooks", "list", "--account", "acme", "--state", "dead", "--limit", "5", "--json"),
        ("webhooks", "list", "--account", "other"),
    )
    assert (table.code, listed.code, only.code, none.code) == (0, 0, 0, 0)
    assert "answered 500" in table.out
    assert "webhooks replay --dead --account acme" in table.err
    assert [one["state"] for one in listed.objects] == ["pending", "dead"]
    shown = only.object
    assert (shown["job_id"], shown["event"]) == (str(job.id), "job.cancelled")
    assert (shown["endpoint"], shown["tries"], shown["last_status"]) == (URL, 12, 500)
    assert shown["id"].startswith("msg_")
    assert "hidden" not in table.out + listed.out
    assert (none.out, none.err.strip()) == ("", "no such webhooks")


async def test_one_message_is_sent_again_by_its_id(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    await dead(deployment)
    message_id = (await deployment.producer.webhooks.list())[0]["id"]
    said = await darkroom.run("webhooks", "replay", message_id)
    assert said.code == 0, said.err
    assert said.lines == [f"{message_id} job.cancelled is sent again to {URL}"]
    told = await darkroom.run("webhooks", "replay", message_id, "--json")
    assert (told.object["state"], told.object["tries"]) == ("pending", 0)


async def test_all_dead_messages_of_an_account_are_sent_again(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    for _ in range(2):
        await dead(deployment)
    said = await darkroom.run("webhooks", "replay", "--dead", "--account", "acme")
    assert (said.code, said.lines) == (0, ["2 messages sent again"])
    again = await darkroom.run("webhooks", "replay", "--dead", "--account", "acme", "--json")
    assert again.object == {"account_id": "acme", "replayed": 0}


async def test_endpoints_and_their_secrets_are_shown_and_rotated(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    await deployment.enqueue(webhook_url=f"{URL}?order=1")
    table, listed, told, secret = await darkroom.run_all(
        ("webhooks", "endpoints"),
        ("webhooks", "endpoints", "--account", "acme", "--json"),
        ("webhooks", "secret", "acme", URL, "--json"),
        ("webhooks", "secret", "acme", f"{URL}?order=2"),
    )
    assert URL in table.out
    assert "whsec_" not in table.out + listed.out
    assert (listed.object["account_id"], listed.object["url"]) == ("acme", URL)
    assert secret.lines == [told.object["secret"]]
    assert secret.lines[0].startswith("whsec_")
    rotated = await darkroom.run("webhooks", "rotate", "acme", URL)
    assert rotated.code == 0, rotated.err
    assert rotated.lines != secret.lines
    assert "the old secret is valid until " in rotated.err
    now = await darkroom.run("webhooks", "secret", "acme", URL)
    assert now.lines == rotated.lines


async def test_a_secret_can_be_had_before_the_first_job(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    missing = await darkroom.run("webhooks", "secret", "acme", f"{URL}?token=hidden")
    assert (missing.code, missing.out) == (3, "")
    assert "hidden" not in missing.err
    made = await darkroom.run("webhooks", "secret", "acme", URL, "--create")
    assert made.code == 0, made.err
    await deployment.enqueue(webhook_url=URL)
    assert (await deployment.producer.webhooks.secret("acme", URL))["secret"] == made.lines[0]
    inner = await darkroom.run("webhooks", "secret", "acme", "http://10.0.0.1/", "--create")
    assert inner.code == 1
    assert "url: points at 10.0.0.1, which is not public" in inner.err
    allowed = darkroom.elsewhere(WEBHOOKS_ALLOW_LOOPBACK="true")
    assert (await allowed.run("webhooks", "secret", "acme", "http://[::1]/", "--create")).code == 0


async def test_what_is_not_there_leaves_with_3(darkroom: Darkroom) -> None:
    for said in await darkroom.run_all(
        ("webhooks", "replay", NOBODY),
        ("webhooks", "replay", "nonsense"),
        ("webhooks", "replay", "--dead", "--account", "nobody"),
        ("webhooks", "rotate", "acme", URL),
        ("webhooks", "secret", "nobody", URL, "--create"),
    ):
        assert (said.code, said.out) == (3, ""), said.err
        assert said.err.strip()


async def test_an_unknown_state_is_named_with_those_there_are(darkroom: Darkroom) -> None:
    said = await darkroom.run("webhooks", "list", "--state", "gone")
    assert said.code == 1
    assert "must be one of pending, delivered, dead" in said.err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--dead",),
        ("--account", "acme"),
        (NOBODY, "--dead", "--account", "acme"),
        (NOBODY, "--account", "acme"),
    ],
    ids=" ".join,
)
def test_a_replay_is_of_one_message_or_of_all_dead_ones(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(build_app(), ["webhooks", "replay", *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr
