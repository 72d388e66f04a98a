"""`darkroom audit`: who did what, from which machine; and what the command line itself leaves."""

from __future__ import annotations

import getpass
import socket

from shared.domain.lifecycle import JobState
from tests.acceptance.cli.driving import Darkroom
from tests.integration.database.desk import Desk
from tests.workshop import Workshop


async def test_what_is_typed_is_noted_and_shown(darkroom: Darkroom, workshop: Workshop) -> None:
    desk = Desk(workshop.database)
    failed, queued = await desk.job_in(JobState.FAILED), await desk.enqueue()
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
