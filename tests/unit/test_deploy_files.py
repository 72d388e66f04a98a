"""The files of a deployment: lint, and properties that must not change."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.settings import Settings

ROOT = Path(__file__).parents[2]
OURS = ("migrate", "api", "worker", "admin", "simulator")
COMMANDS = {"api", "migrate", "worker"}
DRAIN_MARGIN_SECONDS = 10


def run_tool(tool: str, *arguments: str) -> str:
    """Run a tool of this environment in the project folder; return what it complains about."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / tool), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = compose["services"]
    return loaded


def seconds(duration: str) -> float:
    match = re.fullmatch(r"(\d+)(s|m)", duration)
    assert match, duration
    return float(match[1]) * {"s": 1, "m": 60}[match[2]]


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.compose-spec", "docker-compose.yml"),
        ("vendor.github-workflows", ".github/workflows/ci.yml"),
    ],
)
def test_the_file_keeps_its_schema(schema: str, file: str) -> None:
    assert run_tool("check-jsonschema", "--builtin-schema", schema, file) == ""


def test_the_dockerfile_is_lint_free() -> None:
    assert run_tool("hadolint", "Dockerfile") == ""


def test_each_of_our_services_runs_a_real_command(services: dict[str, dict[str, Any]]) -> None:
    commands = {name: services[name]["command"] for name in ("migrate", "api", "worker")}
    assert {command[0] for command in commands.values()} == COMMANDS
    assert services["simulator"]["entrypoint"] == ["python", "-m", "worker.simulator"]
    assert (ROOT / "worker/simulator/__main__.py").exists()


def test_the_worker_is_given_more_time_than_a_drain_takes(
    services: dict[str, dict[str, Any]],
) -> None:
    drain = Settings.model_fields["kie_request_timeout_seconds"].default + DRAIN_MARGIN_SECONDS
    assert seconds(services["worker"]["stop_grace_period"]) > drain


@pytest.mark.parametrize("name", ["api", "worker"])
def test_a_service_that_started_without_postgres_is_started_again(
    name: str, services: dict[str, dict[str, Any]]
) -> None:
    assert services[name]["restart"] == "unless-stopped"


def test_ports_are_open_on_loopback_only(services: dict[str, dict[str, Any]]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_data_survives_and_lies_where_the_images_keep_it(
    compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    # Images of Postgres 18 abort where a volume is mounted on .../postgresql/data.
    assert services["postgres"]["volumes"] == ["postgres-data:/var/lib/postgresql"]
    assert services["valkey"]["volumes"] == ["valkey-data:/data"]
    for name in ("api", "worker"):
        assert services[name]["volumes"] == ["images:/srv/images"]
    assert set(compose["volumes"]) == {"images", "postgres-data", "valkey-data"}


def test_valkey_keeps_what_it_is_given(
    compose: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    assert services["valkey"]["command"] == ["valkey-server", "/etc/valkey.conf"]
    lines = compose["configs"]["valkey"]["content"].splitlines()
    assert {"appendonly yes", "maxmemory-policy noeviction"} < set(lines)


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_locked_down(name: str, services: dict[str, dict[str, Any]]) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["init"] is True
    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert int(group) > 0


@pytest.mark.parametrize("name", ["api", "worker"])
def test_nothing_starts_before_the_schema_is_there(
    name: str, services: dict[str, dict[str, Any]]
) -> None:
    waits_for = {other: wait["condition"] for other, wait in services[name]["depends_on"].items()}
    assert waits_for == {
        "postgres": "service_healthy",
        "valkey": "service_healthy",
        "migrate": "service_completed_successfully",
    }
    assert services["migrate"]["restart"] == "no"


@pytest.mark.parametrize(("name", "port"), [("api", "8080"), ("worker", "8081")])
def test_health_is_asked_where_the_service_listens(
    name: str, port: str, services: dict[str, dict[str, Any]]
) -> None:
    service = services[name]
    assert service["healthcheck"]["test"] == [
        *("CMD", "darkroom", "health", "--url"),
        f"http://127.0.0.1:{port}",
    ]
    prefix = "API" if name == "api" else "WORKER_HTTP"
    assert service["environment"][f"{prefix}_PORT"] == port
    assert service["environment"][f"{prefix}_HOST"] == "0.0.0.0"


def test_the_simulator_and_the_admin_are_started_only_when_they_are_asked_for(
    services: dict[str, dict[str, Any]],
) -> None:
    assert services["simulator"]["profiles"] == ["sim"]
    assert services["admin"]["profiles"] == ["admin"]
    started = {name for name, one in services.items() if "profiles" not in one}
    assert started == {"postgres", "valkey", "roles", "migrate", "api", "worker"}


def test_the_image_runs_darkroom_as_nobody_and_stops_on_sigterm() -> None:
    runtime = (ROOT / "Dockerfile").read_text("utf-8").partition(" AS runtime\n")[2]
    assert 'ENTRYPOINT ["darkroom"]' in runtime
    assert "STOPSIGNAL SIGTERM" in runtime
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", runtime, re.MULTILINE)
    assert "uv" not in runtime
    assert "embedded" not in runtime


def test_everything_the_image_is_built_from_reaches_the_build() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = {
        word
        for line in re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.MULTILINE)
        for word in line.split()
    }
    assert {f"!{name}" for name in copied} == {line for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_one_version_of_uv_is_used_everywhere() -> None:
    pinned = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert pinned == re.findall(r"uv==(\S+)", (ROOT / "Dockerfile").read_text("utf-8"))


def test_continuous_integration_runs_the_same_command_as_everyone() -> None:
    script = (ROOT / ".ci/run").read_text("utf-8")
    assert script.splitlines()[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in script
    assert "make test" in script.splitlines()[-1]
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_every_target_of_the_makefile_is_explained_and_phony() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    explained = re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert phony
    assert sorted(phony[1].split()) == sorted(explained)
    assert {"help", "setup", "demo", "test", "check"} <= set(explained)
