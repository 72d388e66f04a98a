"""`darkroom queue pause | resume | pauses`, and what the queue says of pauses."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta

import pytest

from shared.catalog import list_families
from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment, eventually, text_to_image


async def test_a_queue_is_paused_and_resumed_while_a_worker_runs(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    await deployment.open_account("bolt", 100)
    async with deployment.worker():
        paused = await darkroom.run(
            *("queue", "pause", "--account", "acme", "--reason", "they asked", "--for", "2h"),
            "--json",
        )
        assert paused.code == 0, paused.err
        pause = paused.object
        assert (pause["scope"], pause["value"], pause["is_active"]) == ("account", "acme", True)
        assert (pause["reason"], pause["paused_by"]) == ("they asked", getpass.getuser())
        left = datetime.fromisoformat(pause["until"]) - datetime.fromisoformat(pause["paused_at"])
        assert left == pytest.approx(timedelta(hours=2), abs=timedelta(seconds=5))
        jobs = [await deployment.enqueue() for _ in range(3)]
        other = await deployment.producer.enqueue(text_to_image(), account_id="bolt")
        await deployment.ended(other)
        told, page, listed = await darkroom.run_all(
            ("queue", "--json"), ("queue",), ("queue", "pauses")
        )
        assert (told.object["queued"], told.object["paused"]) == (3, 3)
        (shown,) = told.object["pauses"]
        assert shown == {name: pause[name] for name in shown}
        assert "submits of account acme are paused by" in page.out
        assert "3 (3 paused)" in page.out
        assert "they asked" in listed.out
        resumed = await darkroom.run("queue", "resume", str(pause["id"]))
        assert resumed.code == 0, resumed.err
        for job in jobs:
            await deployment.ended(job)
    await deployment.check_invariants_hold()
    deployment.check_paid_once()


async def test_what_is_wrong_is_said_with_what_there_is(darkroom: Darkroom) -> None:
    past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    why = ("--reason", "why")
    refused = await darkroom.run_all(
        ("queue", "pause", "--model", "gpt-4o-imag", *why),
        ("queue", "pause", "--account", "amce", *why),
        ("queue", "pause", "--kie-account", "studio", *why),
        ("queue", "pause", "--everything", *why, "--until", past),
        ("queue", "resume", "999"),
        ("queue", "pause", *why),
        ("queue", "pause", "--everything", "--account", "acme", *why),
        ("queue", "pause", "--everything", "--reason", " "),
        ("queue", "resume"),
        ("queue", "resume", "1", "--everything"),
        ("queue", "--json", "pauses"),
        ("queue", "pauses", "--below", "5"),
    )
    assert [one.code for one in refused] == [1, 3, 1, 1, 3, *[2] * 7], [one.err for one in refused]
    models = f"there is: {', '.join(sorted(list_families()))}"
    words = (models, "amce", "there is: default", "has passed", "queue pauses")
    for said, expected in zip(refused[:5], words, strict=True):
        assert expected in " ".join(said.err.split()), said.err
    for said in refused[5:]:
        assert "Traceback" not in said.err
    assert "nothing is paused" in (await darkroom.run("queue", "pauses")).err


async def test_pauses_of_several_people_stand_beside_each_other(darkroom: Darkroom) -> None:
    for reason in ("one", "two", "two"):
        said = await darkroom.run("queue", "pause", "--everything", "--reason", reason)
        assert said.code == 0, said.err
    first = await darkroom.run("queue", "resume", "1")
    left = await darkroom.run("queue", "pauses", "--json")
    assert "still active" in first.err
    assert [one["reason"] for one in left.objects] == ["two"]
    both = await darkroom.run("queue", "pauses", "--all", "--json")
    assert [(one["id"], one["is_active"]) for one in both.objects] == [(2, True), (1, False)]
    ended = await darkroom.run("queue", "resume", "--everything", "--json")
    assert [one["id"] for one in ended.objects] == [2]


async def test_a_pause_of_the_only_kie_account_stops_all_and_shows_in_the_queue(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    async with deployment.worker():
        said = await darkroom.run(
            *("queue", "pause", "--kie-account", "default", "--reason", "its bill is wrong")
        )
        assert said.code == 0, said.err
        job = await deployment.enqueue()

        async def is_alerted() -> bool:
            told = (await darkroom.run("queue", "--json")).object
            return [one["name"] for one in told["alerts"]] == ["paused_by_operator"]

        await eventually(is_alerted, "the pause is alerted, and nothing else")
        assert (await deployment.producer.get(job.id)).attempt == 0
        await darkroom.run("queue", "resume", "--kie-account", "default")
        await deployment.ended(job)
