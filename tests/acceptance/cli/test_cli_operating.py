"""Commands of operators, with and without failures: queue, doctor, migrate, health."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable
from typing import cast

import asyncpg
from arq.connections import ArqRedis

from shared.adapters.redis.deliveries import local_now_ms
from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment, text_to_image

NO_POSTGRES = "postgresql://darkroom@127.0.0.1:1/darkroom"
NO_REDIS = "redis://127.0.0.1:1"


async def test_the_queue_in_one_object(darkroom: Darkroom, deployment: Deployment) -> None:
    async with deployment.worker():
        failing = text_to_image("[[sim: outcome=content_policy]]")
        jobs = [await deployment.enqueue(failing), await deployment.enqueue()]
        await asyncio.gather(*(deployment.ended(job) for job in jobs))
    await deployment.enqueue()
    said, page = await darkroom.run_all(("queue", "--json"), ("queue",))
    queue = said.object
    assert (said.code, page.code) == (0, 0)
    assert (queue["queued"], queue["in_flight"]) == (1, 0)
    assert (queue["succeeded"], queue["failed"], queue["credits_charged"]) == (1, 1, 6)
    assert queue["credits_held"] == 6
    assert queue["accepted"] == 3
    assert (queue["succeeded_per_minute"], queue["failed_per_minute"]) == (0.2, 0.2)
    assert queue["ended_per_minute"] == 0.4
    assert queue["workers"] == {"alive": 0, "lost": []}
    assert [alert["name"] for alert in queue["alerts"]] == ["no_worker"]
    assert queue["submits_paused"] is None
    assert queue["has_worker"] is False
    assert queue["run_p95_seconds"] > 0
    assert [one["reason"] for one in queue["last_failures"]] == ["content_policy"]
    for text in ("1 waiting, 0 in flight", "no worker is running", "content_policy", "wait p95"):
        assert text in page.out


async def test_the_queue_says_that_submitting_is_paused_and_why(
    darkroom: Darkroom, redis: ArqRedis
) -> None:
    brake = {
        "until": local_now_ms() + 60_000,
        "level": 1,
        "reason": "account_refused",
        "message": "401",
    }
    await cast("Awaitable[int]", redis.hset("darkroom:brake", mapping=brake))
    page, said = await darkroom.run_all(("queue",), ("queue", "--json"))
    assert "more (account_refused: 401)" in page.out
    paused = said.object["submits_paused"]
    assert (paused["reason"], paused["message"], paused["is_on"]) == (
        "account_refused",
        "401",
        True,
    )


async def test_the_queue_without_redis_shows_what_postgres_knows_and_leaves_with_6(
    darkroom: Darkroom,
) -> None:
    said = await darkroom.elsewhere(REDIS_URL=NO_REDIS).run("queue")
    assert said.code == 6
    assert "idle" in said.out
    assert "Redis does not answer" in said.err


async def test_without_postgres_commands_leave_with_6_and_name_the_doctor(
    darkroom: Darkroom,
) -> None:
    cut_off = darkroom.elsewhere(DATABASE_URL=NO_POSTGRES)
    for said in await cut_off.run_all(("queue",), ("migrate",), ("api",)):
        assert (said.code, said.out) == (6, ""), said
        assert "Postgres does not answer" in said.err
        assert said.err.splitlines()[-1].endswith("doctor")


async def test_an_unusable_environment_lists_every_fault(darkroom: Darkroom) -> None:
    said = await darkroom.elsewhere(API_PORT="x", CHARGE_BASIS="maybe").run("queue")
    assert said.code == 2
    assert "API_PORT" in said.err
    assert "CHARGE_BASIS" in said.err


async def test_an_old_schema_is_refused_until_it_is_migrated(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    name = "unmigrated"
    await deployment.run_sql(f"CREATE DATABASE {name}")
    try:
        given = deployment.settings.database_url
        assert given is not None
        url = f"{given.get_secret_value().rpartition('/')[0]}/{name}"
        old = darkroom.elsewhere(DATABASE_URL=url)
        refused = await old.run("queue")
        assert refused.code == 1
        assert refused.err.splitlines()[-1].endswith("migrate")
        missing = await old.run("migrate", "--status", "--json")
        assert {one["applied_at"] for one in missing.objects} == {None}
        applied = await old.run("migrate")
        assert applied.lines[0] == "applied 0001_initial"
        again = await old.run("migrate")
        assert (again.code, again.out) == (0, "")
        assert "up to date" in again.err
    finally:
        await deployment.run_sql(f"DROP DATABASE {name} WITH (FORCE)")


async def test_env_prints_lines_that_a_shell_can_read(darkroom: Darkroom) -> None:
    said = await darkroom.run("env")
    assert said.code == 0
    words = shlex.split(said.out)
    assert words[::2] == ["export", "export"]
    urls = dict(word.split("=", 1) for word in words[1::2])
    assert urls.keys() == {"DATABASE_URL", "REDIS_URL"}
    connection = await asyncpg.connect(urls["DATABASE_URL"])
    assert await connection.fetchval("SELECT count(*) FROM pricing") >= 6
    await connection.close()


async def test_the_doctor_finds_a_healthy_and_a_cut_off_darkroom(darkroom: Darkroom) -> None:
    healthy = await darkroom.run("doctor", "--json")
    assert all(finding["ok"] for finding in healthy.objects), healthy.out
    assert healthy.code == 0
    cut_off = await darkroom.elsewhere(DATABASE_URL=NO_POSTGRES).run("doctor")
    assert cut_off.code == 6
    assert "✗ postgres" in cut_off.out
    assert "fix: " in cut_off.out


async def test_an_unknown_command_leaves_with_2(darkroom: Darkroom) -> None:
    said = await darkroom.run("develop")
    assert (said.code, said.out) == (2, "")
    assert "No such command" in said.err


async def test_the_queue_shows_each_of_several_kie_accounts(
    darkroom: Darkroom, deployment: Deployment, redis: ArqRedis
) -> None:
    keys = {"studio": "studio-key-0123456789abcdef", "archive": "archive-key-0123456789abcdef"}
    several = darkroom.elsewhere(
        KIE_API_KEY=None, KIE_API_KEYS=",".join(f"{name}={key}" for name, key in keys.items())
    )
    await deployment.run_sql(
        "INSERT INTO provider_balance_checks (asked_at, at, balance, drift, unexplained, settled,"
        " verdict, provider_account) VALUES (now(), now(), 60.62, 0, 0, true, 'first', 'studio')"
    )
    brake = {
        "until": local_now_ms() + 60_000,
        "level": 1,
        "reason": "account_refused",
        "message": "402",
    }
    await cast("Awaitable[int]", redis.hset("darkroom:brake:archive", mapping=brake))
    page, said, doctor = await several.run_all(("queue",), ("queue", "--json"), ("doctor",))
    assert "Kie accounts" in page.out
    assert "60.62" in page.out
    assert "submits by the Kie account archive are paused for" in page.out
    archive, studio = said.object["kie_accounts"]
    assert (studio["name"], studio["balance"], studio["submits_paused"]) == ("studio", 60.62, None)
    assert (archive["name"], archive["balance"]) == ("archive", None)
    assert archive["submits_paused"]["reason"] == "account_refused"
    assert said.object["submits_paused"] is None, "the other account goes on"
    assert "kie balance of archive: never checked" in doctor.out
    assert "✗ submits paused archive: submits by the Kie account archive are paused" in doctor.out
    assert doctor.code == 1
    shown = page.out + said.out + doctor.out + page.err + said.err + doctor.err
    assert not any(key in shown for key in keys.values())
