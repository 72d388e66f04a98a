"""Output on a terminal: progress bars, colours, a live queue, and Ctrl-C."""

from __future__ import annotations

import json
import signal

from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment

A_LIGHTHOUSE = ("enqueue", "--account", "acme", "--prompt", "a lighthouse", "--wait")


async def test_the_queue_is_watched_live_until_ctrl_c(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    async with darkroom.on_terminal("queue", "--watch") as terminal:
        await terminal.until_it_shows("idle")
        await deployment.enqueue()
        await terminal.until_it_shows("1 waiting, 0 in flight")
        # The database refuses all logins for a while: the watch shows the error and continues.
        database = (await deployment.run_sql("SELECT current_database() AS name"))[0]["name"]
        await deployment.run_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = $1 AND application_name = 'darkroom-cli'",
            database,
        )
        shown = terminal.text.count("1 waiting, 0 in flight")
        await terminal.until_it_shows("1 waiting, 0 in flight", shown + 1)
        assert await terminal.press_ctrl_c() == 130
        assert "Traceback" not in terminal.text


async def test_a_watch_outlives_servers_that_are_not_there(darkroom: Darkroom) -> None:
    cut_off = darkroom.elsewhere(DATABASE_URL="postgresql://darkroom@127.0.0.1:1/darkroom")
    async with cut_off.on_terminal("queue", "--watch") as terminal:
        await terminal.until_it_shows("Postgres does not answer")
        assert await terminal.press_ctrl_c() == 130
        assert "Traceback" not in terminal.text


async def test_a_watch_without_a_terminal_writes_plain_objects(darkroom: Darkroom) -> None:
    async with darkroom.running("queue", "--watch", "--json") as watch:
        assert watch.process.returncode is None
        watch.process.send_signal(signal.SIGTERM)
        assert await watch.end() in {143, -signal.SIGTERM}
        assert "Traceback" not in watch.err


async def test_bars_and_colours_are_for_terminals(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    async with deployment.worker():
        async with darkroom.on_terminal(*A_LIGHTHOUSE) as terminal:
            assert await terminal.end() == 0
            await terminal.until_it_shows("credits charged")
            assert "━" in terminal.text
            assert "\x1b[32m" in terminal.raw
        async with darkroom.elsewhere(NO_COLOR="1").on_terminal("queue") as plain:
            assert await plain.end() == 0
            await plain.until_it_shows("credits held")
            assert "\x1b[32m" not in plain.raw
        piped = await darkroom.run(*A_LIGHTHOUSE)
    assert "━" not in piped.err
    assert "\x1b" not in piped.err + piped.out


async def test_ctrl_c_leaves_quietly_with_130_and_the_job_continues(
    darkroom: Darkroom, deployment: Deployment
) -> None:
    async with darkroom.running(*A_LIGHTHOUSE) as waiting:
        await waiting.wait_for_text("queued")
        assert await waiting.stop(signal.SIGINT) == 130
        assert "Traceback" not in waiting.err
    async with darkroom.running(*A_LIGHTHOUSE, "--idempotency-key", "k", "--json") as waiting:
        await waiting.wait_for_text("queued")
        assert await waiting.stop(signal.SIGINT) == 130
        assert json.loads(waiting.err.splitlines()[-1])["type"].endswith(":interrupted")
    jobs = await deployment.producer.list()
    assert [job.state for job in jobs] == ["queued", "queued"]
