"""`darkroom audit`, and the audit entries that commands write."""

from __future__ import annotations

import getpass
import socket

from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.domain.lifecycle import JobState
from tests.acceptance.cli.cli_program import Darkroom
from tests.acceptance.cli.test_cli_own_roles import open_session
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.command_words import list_commands
from tests.support.deployment import Deployment

URL = "https://hooks.example/end"
READING = {
    *("jobs list", "jobs show", "jobs wait", "accounts show", "accounts ledger"),
    *("prices list", "prices history", "keys list", "webhooks list", "webhooks endpoints"),
    "webhooks show",
    *("webhooks secret", "queue pauses", "jobs counts", "accounts list", "accounts statement"),
    *("prices preview", "prices scheduled", "models list", "accounts erasures"),
    *("keys sessions", "queue history", "queue waiting", "queue lost-writes"),
    *("files show", "jobs download", "kie models", "kie surprises", "prices compare"),
}
"""Commands that change nothing; `webhooks secret` only with --create."""
FOR_THE_CALLER = {"files upload"}
"""Commands that an account's own programs use, as they use `enqueue`; the row names the account."""
NOTED_ABOVE = {
    *("jobs cancel", "jobs retry", "accounts create", "accounts grant", "keys create"),
    "prices set",
}
WEBHOOKS_AND_KEYS = {
    "webhooks rotate": "webhook_secret_rotated",
    "webhooks replay": "webhook_replayed",
    "webhooks revoke": "webhook_secret_revoked",
    "keys end-session": "session_ended",
    "keys revoke": "key_revoked",
}
PAUSES = {
    "queue pause": "queue_paused",
    "queue resume": "queue_resumed",
    "queue end-brake": "queue_resumed",
}
NOTED_ELSEWHERE = {
    *("results prune", "results retry", "prune", "accounts erase-prompts"),
    "queue acknowledge",
}
"""test_prune_cli.py, test_results_retry_cli.py, test_retention_cli.py and test_lost_writes_cli.py
read their entries."""
MODELS = {"models route": "model_routed"}
MONEY = {
    "accounts limits": "account_limits_changed",
    "prices schedule": "price_scheduled",
    "prices unschedule": "price_unscheduled",
    "accounts refund": "job_refunded",
}


async def test_what_is_typed_is_noted_and_shown(darkroom: Darkroom, deployment: Deployment) -> None:
    setup = DatabaseSetup(deployment.database)
    failed, queued = await setup.job_in(JobState.FAILED), await setup.enqueue()
    done = await darkroom.run_all(
        ("jobs", "cancel", str(queued.id), "--json"),
        ("jobs", "retry", str(failed.id)),
        ("accounts", "create", "shop", "--credits", "5"),
        ("keys", "create", "--role", "operator"),
        ("prices", "set", "gpt-4o-image", "text-to-image", "2", "9", "--reason", "dearer"),
    )
    assert [one.code for one in done] == [0] * 5, [one.err for one in done]
    assert done[0].object["reason"] == "cancelled_by_operator"
    refused = await darkroom.run("accounts", "grant", "shop", "-6", "--reason", "typo")
    assert refused.code == 1
    assert "has 5 credits available" in refused.err
    assert "--allow-debt" in refused.err
    owed = await darkroom.run(
        *("accounts", "grant", "shop", "-6", "--reason", "owed", "--allow-debt", "--json")
    )
    assert owed.object["balance"] == -1
    every, paged, of_shop, told, page = await darkroom.run_all(
        ("audit", "--json", "--actor", getpass.getuser()),
        ("audit", "--limit", "1"),
        ("audit", "--account", "shop", "--act", "credits_adjusted", "--json"),
        ("jobs", "show", str(queued.id), "--json"),
        ("jobs", "show", str(queued.id)),
    )
    assert {one["act"] for one in every.objects} == {
        *("job_cancelled", "job_retried", "account_created", "credits_granted"),
        *("key_created", "price_changed", "credits_adjusted"),
    }
    for one in every.objects:
        assert (one["via"], one["origin"]) == ("cli", socket.gethostname())
        assert one["actor"] == one["os_user"] == getpass.getuser()
    assert "audit --below" in paged.err
    assert "balance 5 → -1" in paged.out
    assert of_shop.object["reason"] == "owed"
    assert [one["act"] for one in told.object["audit"]] == ["job_cancelled"]
    assert "What operators did" in page.out
    ledger = await darkroom.run("accounts", "ledger", "shop", "--json")
    assert [one["granted_by"] for one in ledger.objects] == [getpass.getuser()] * 2


async def test_every_command_that_changes_something_for_others_is_noted(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    commands = {words for words in list_commands() if " " in words or words == "prune"}
    noted_here = {*WEBHOOKS_AND_KEYS, *PAUSES, *MODELS, *MONEY}
    noted_there = NOTED_ABOVE | NOTED_ELSEWHERE | {"jobs resolve"}
    assert commands == READING | FOR_THE_CALLER | noted_there | noted_here
    setup = DatabaseSetup(deployment.database)
    charged = await setup.job_in(JobState.SUCCEEDED)
    unknown, ended = await setup.job_in(JobState.UNKNOWN), await setup.enqueue(webhook_url=URL)
    await setup.book.cancel(ended.id)
    key, _ = await KeyStore(deployment.database).create(Role.OPERATOR)
    message = (await deployment.producer.webhooks.list())[0]["id"]
    session = await open_session(deployment)
    pause = await deployment.producer.pauses.pause("account", "acme", reason="for the test")
    price = ("gpt-4o-image", "text-to-image", "2")
    done = await darkroom.run_all(
        ("webhooks", "secret", "acme", f"{URL}/new", "--create"),
        ("webhooks", "rotate", "acme", URL),
        ("webhooks", "replay", message),
        ("webhooks", "secret", "acme", "--create"),
        ("keys", "end-session", str(session.id)),
        ("keys", "revoke", key.prefix),
        ("queue", "pause", "--everything", "--reason", "for the test"),
        ("queue", "resume", str(pause.id)),
        ("models", "route", "gpt-4o-image", "--via", "4o-image-api", "--yes"),
        ("jobs", "resolve", str(unknown.id), "--lost", "--reason", "not in the log"),
        ("accounts", "limits", "acme", "--weight", "2", "--reason", "many jobs"),
        ("accounts", "refund", str(charged.id), "--reason", "blurred"),
        ("prices", "schedule", *price, "9", "--at", "2027-12-31T00:00Z", "--reason", "new year"),
    )
    assert [one.code for one in done] == [0] * 13, [one.err for one in done]
    for command in (("prices", "unschedule", "1"), ("webhooks", "revoke", "acme")):
        assert (await darkroom.run(*command)).code == 0
    noted = await deployment.producer.billing.audit(actor=getpass.getuser())
    assert {(one["act"], one["via"], one["origin"]) for one in noted} == {
        (act, "cli", socket.gethostname())
        for act in (
            *WEBHOOKS_AND_KEYS.values(),
            *PAUSES.values(),
            *MODELS.values(),
            *MONEY.values(),
            "webhook_endpoint_created",
            "webhook_secret_created",
            "job_resolved",
        )
    }
