"""Commands that run until they are stopped: worker, API, simulator, up; and the demo."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp

from shared.catalog import list_families
from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import eventually

ROOT = Path(__file__).resolve().parents[3]


async def is_open(port: str) -> bool:
    """Return whether a local process listens on the port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(port))
    except OSError:
        return False
    writer.close()
    return True


async def test_a_worker_becomes_the_program_itself_and_health_finds_it(darkroom: Darkroom) -> None:
    # A caller's project may have its own package `worker`, which is never run.
    foreign = darkroom.directory / "worker"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("")
    (foreign / "__main__.py").write_text("raise SystemExit('foreign')")
    async with darkroom.running("worker") as worker:
        await worker.wait_for_text("worker_started")
        line = next(line for line in worker.err.splitlines() if "worker_started" in line)
        url = f"http://{json.loads(line)['http']}"
        ready = await darkroom.run("health", "--url", url, "--json")
        assert (ready.code, ready.object["ready"]) == (0, True)
        assert await worker.stop() == 0


async def test_the_api_serves_health_and_metrics_until_it_is_stopped(
    darkroom: Darkroom,
) -> None:
    async with darkroom.running("api") as api:
        await api.wait_for_text("api_started")
        line = next(line for line in api.err.splitlines() if "api_started" in line)
        url = f"http://{json.loads(line)['http']}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/readyz") as answer:
                assert answer.status == 200
            async with session.get(f"{url}/metrics") as answer:
                assert "darkroom_queue_depth 0.0" in await answer.text()
        assert await api.stop() == 0


async def test_the_simulator_gets_every_argument(darkroom: Darkroom) -> None:
    help_page = await darkroom.run("simulate-kie", "--help")
    assert help_page.code == 0
    assert "--creates-per-10-seconds" in help_page.out
    async with darkroom.running("simulate-kie", "--api-key", "mine", "--seed", "1") as simulator:
        await simulator.wait_for_text("API key mine")
        assert await simulator.stop() == 0


async def test_python_m_producer_is_the_same_command_line(darkroom: Darkroom) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producer", "prices", "list", "--json"),
        env={**darkroom.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert {json.loads(line)["model"] for line in out.splitlines()} == set(list_families())


async def test_up_runs_everything_and_stops_it_on_sigterm(home: Darkroom) -> None:
    async with home.running("up", "--workers", "2") as up:
        ready = [f"{name} is ready on http://" for name in ("worker-1", "worker-2", "api")]
        await up.wait_for_text(*ready)
        assert "KIE IS SIMULATED" in up.err
        addresses = re.findall(r"is ready on http://127\.0\.0\.1:(\d+)", up.err)
        await home.run("accounts", "create", "upper", "--credits", "50")
        prompt = "x [[sim: duration=0.5]]"
        said = await home.run("enqueue", "--account", "upper", "--prompt", prompt, "--wait")
        assert said.code == 0, said.err + up.err
        assert await up.stop() == 0
        assert "everything has stopped" in up.err
    assert len(addresses) == 3
    assert not any([await is_open(port) for port in addresses])


async def test_up_gives_up_where_a_program_refuses_to_start(darkroom: Darkroom) -> None:
    # A given database without a key: simulated images must never be charged to real accounts.
    said = await darkroom.elsewhere(KIE_API_KEY=None).run("up")
    assert said.code == 1
    assert "KIE_API_KEY is not set" in said.err
    assert "worker does not start" in said.err


async def test_the_children_of_up_end_with_it_however_it_dies(home: Darkroom) -> None:
    async with home.running("up") as up:
        await up.wait_for_text("worker is ready on", "api is ready on")
        port = re.findall(r"worker is ready on http://127\.0\.0\.1:(\d+)", up.err)[0]
        os.kill(up.process.pid, signal.SIGKILL)

        async def is_closed() -> bool:
            return not await is_open(port)

        await eventually(is_closed, "the worker ended")


async def test_the_demo_runs_real_jobs_and_judges_them(home: Darkroom) -> None:
    loud = home.elsewhere(KIE_API_KEY="real", DATABASE_URL="postgresql://127.0.0.1:1/real")
    said = await loud.run("demo")
    assert said.code == 0, said.out + said.err
    assert "DATABASE_URL, KIE_API_KEY are set and left alone" in said.err
    assert said.out.count("succeeded") == 6
    assert said.out.count("failed (content_policy)") == 1
    assert "42 charged = 6 + 7 + 8 + 6 + 7 + 8; held 0" in said.out
    assert "7 paid POSTs for 7 jobs" in said.out
    assert "bytes of image/png" in said.out
    assert "jobs show" in said.out
    account = (await home.run("accounts", "show", "demo", "--json")).object
    assert (account["balance"], account["held"]) == (58, 0)
