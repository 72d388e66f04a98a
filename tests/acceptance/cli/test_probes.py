"""The probes that the docs and docker-compose.yml name, asked of running programs."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml
from pydantic import SecretStr

from shared.adapters.monitoring.health_endpoints import CHECK_TIMEOUT_SECONDS
from tests.acceptance.cli.cli_program import Darkroom
from tests.acceptance.test_rolling_restart import PROBES, statuses
from tests.support.deployment import Deployment, eventually
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
DEPLOYMENT = (ROOT / "docs" / "deployment.md").read_text("utf-8")


def kubernetes_container() -> dict[str, Any]:
    """Return the part of a container in Kubernetes that docs/operations.md shows."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (block,) = re.findall(r"```yaml\n(.*?startupProbe.*?)```", page, re.DOTALL)
    loaded: dict[str, Any] = yaml.safe_load(block)
    return loaded


def health_checks() -> dict[str, list[str]]:
    """Return the health check of each service of Darkroom in docker-compose.yml."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return {name: compose["services"][name]["healthcheck"]["test"] for name in ("api", "worker")}


async def test_the_probes_of_the_docs_are_answered_by_both_programs(
    deployment: Deployment, darkroom: Darkroom
) -> None:
    container = kubernetes_container()
    probes = {name: one for name, one in container.items() if name.endswith("Probe")}
    paths = [one["httpGet"]["path"] for one in probes.values()]
    assert sorted(paths) == sorted(PROBES)
    assert probes["readinessProbe"]["timeoutSeconds"] > CHECK_TIMEOUT_SECONDS
    (delay,) = container["env"]
    (row,) = re.findall(r"^\| Kubernetes.*?\| (\d+) \|", DEPLOYMENT, re.MULTILINE)
    assert (delay["name"], delay["value"]) == ("SHUTDOWN_DELAY_SECONDS", row)
    named = {one["name"] for one in container["ports"]}
    assert {one["httpGet"]["port"] for one in probes.values()} == named
    ports = {"api": free_port(), "worker": free_port()}
    async with (
        deployment.api(api_port=ports["api"]),
        deployment.worker(worker_http_port=ports["worker"]),
        aiohttp.ClientSession() as session,
    ):
        for port in ports.values():
            assert await statuses(session, port) == dict.fromkeys(paths, 200)
        for program, (kind, *command) in health_checks().items():
            assert (kind, command[:3]) == ("CMD", ["darkroom", "health", "--url"])
            url = urlsplit(command[3])._replace(netloc=f"127.0.0.1:{ports[program]}").geturl()
            said = await darkroom.run(*command[1:3], url)
            assert (said.code, "is ready" in said.out) == (0, True)


@pytest.mark.parametrize("program", ["api", "worker"])
async def test_a_stopped_program_is_not_ready_and_serves_until_the_delay_is_over(
    darkroom: Darkroom, program: str
) -> None:
    port = free_port()
    name = {"api": "API_PORT", "worker": "WORKER_HTTP_PORT"}[program]
    waiting = darkroom.elsewhere(SHUTDOWN_DELAY_SECONDS="120", **{name: str(port)})
    async with waiting.running(program) as running, aiohttp.ClientSession() as session:
        await running.wait_for_text(f"{program}_started")
        assert await statuses(session, port) == dict.fromkeys(PROBES, 200)
        running.process.send_signal(signal.SIGTERM)

        async def is_red() -> bool:
            return (await statuses(session, port))["/readyz"] == 503

        await eventually(is_red, "/readyz is 503", 10)
        assert await statuses(session, port) == {"/healthz": 200, "/readyz": 503, "/startupz": 200}
        async with session.get(f"http://127.0.0.1:{port}/readyz") as told:
            assert (await told.json())["status"] == "stopping"
            assert told.headers["Connection"] == "close"
        began = monotonic()
        assert await running.stop() == 0  # the second SIGTERM
        assert monotonic() - began < 30


async def test_health_says_that_an_api_without_redis_is_degraded(
    deployment: Deployment, darkroom: Darkroom
) -> None:
    port = free_port()
    away = SecretStr(f"redis://127.0.0.1:{free_port()}")
    async with deployment.api(api_port=port, redis_url=away):
        url = f"http://127.0.0.1:{port}"
        said = await darkroom.run("health", "--url", url)
        told = await darkroom.run("health", "--url", url, "--json")
    assert (said.code, "is ready, but degraded" in said.out) == (0, True)
    assert "Redis does not answer" in said.out
    assert (told.code, told.object["ready"], told.object["status"]) == (0, True, "degraded")
