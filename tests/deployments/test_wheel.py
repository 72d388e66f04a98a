"""The wheel, installed outside the checkout, runs every service on the servers of the system.

The user has no rights and no home that it may write, and the working directory is the root of the
file system.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.deployments.postgres import running_postgres
from tests.deployments.programs import (
    open_folder,
    require_program,
    running_program,
    skip_for_want_of,
    unprivileged_user,
)
from tests.support.ports import port_for_restarts

ROOT = Path(__file__).parents[2]
_START_SECONDS = 20.0
PASSWORD = "p-4/7"  # with a character that a URL must escape


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter and write. pytest's own are closed to others."""
    with open_folder("deployed-") as path:
        yield path


def install_wheel(folder: Path) -> Path:
    """Build the wheel and install it into an environment of its own. Return its `darkroom`."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    subprocess.run([*build, str(folder)], cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = folder.glob("*.whl")
    # The interpreter of the checkout may lie in a home that other users cannot read.
    python = _system_python()
    made = run_for_everyone(python, "-m", "venv", str(folder / "venv"))
    if made.returncode != 0:
        skip_for_want_of(f"venv of {python}")
    installed = run_for_everyone(str(folder / "venv/bin/pip"), "install", "--quiet", str(wheel))
    if "WARNING: Retrying" in installed.stderr:
        skip_for_want_of("an index of packages")
    assert installed.returncode == 0, installed.stderr
    return folder / "venv/bin/darkroom"


def _system_python() -> str:
    asked = "import sys; raise SystemExit(sys.version_info < (3, 11))"
    for name in ("python3", "python3.14", "python3.13", "python3.12"):
        path = shutil.which(name, path="/usr/bin")
        if path is not None and subprocess.run([path, "-c", asked]).returncode == 0:
            break
    else:
        skip_for_want_of("Python 3.11 in /usr/bin")
    return path


def run_for_everyone(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose files every user may read."""
    return subprocess.run(words, capture_output=True, text=True, umask=0o022, timeout=400)


@contextmanager
def system_servers(folder: Path) -> Iterator[dict[str, str]]:
    """Run the PostgreSQL and the Redis of the system. Yield the URLs for a plain role."""
    redis, user = require_program("redis-server"), unprivileged_user()
    redis_port = port_for_restarts()
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres(folder))
        keyed = [redis, "--port", str(redis_port), "--requirepass", PASSWORD, "--save", ""]
        stack.enter_context(
            running_program(keyed, folder / "redis.log", port=redis_port, user=user)
        )
        superuser = f"postgresql://postgres@{postgres}/postgres"
        for statement in (
            f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE app OWNER app",
        ):
            subprocess.run([require_program("psql"), "-qXc", statement, superuser], check=True)
        escaped = PASSWORD.replace("/", "%2F")
        yield {
            "DATABASE_URL": f"postgresql://app:{escaped}@{postgres}/app",
            "REDIS_URL": f"redis://:{escaped}@127.0.0.1:{redis_port}/0",
        }


class Deployed:
    """Darkroom as it is installed, with its settings in the environment alone."""

    def __init__(self, darkroom: Path, home: Path, settings: dict[str, str]) -> None:
        self.command = str(darkroom)
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(home), **settings}

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command to its end and return what it prints."""
        done = subprocess.run(
            [self.command, *words],
            cwd="/",
            env=self.environ,
            user=unprivileged_user(),
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def wait_until_healthy(self, port: int) -> None:
        """Ask a service until it is ready. Raises `AssertionError` after 20 seconds."""
        give_up_at = monotonic() + _START_SECONDS
        while True:
            try:
                self.run("health", "--url", f"http://127.0.0.1:{port}")
            except AssertionError:
                if monotonic() > give_up_at:
                    raise
                sleep(0.1)
            else:
                return

    def service(self, folder: Path, *words: str, port: int) -> ExitStack:
        """Start a service, which listens on the port. The caller ends it."""
        stack = ExitStack()
        command = ["/usr/bin/env", "-C", "/", "-i"]
        command += [f"{name}={value}" for name, value in self.environ.items()]
        stack.enter_context(
            running_program(
                [*command, self.command, *words],
                folder / f"{words[0]}.log",
                port=port,
                user=unprivileged_user(),
            )
        )
        return stack


def test_an_installed_wheel_runs_every_service_without_rights(folder: Path) -> None:
    darkroom = install_wheel(folder)
    home = folder / "home"
    home.mkdir(mode=0o555)
    kie, api, worker = port_for_restarts(), port_for_restarts(), port_for_restarts()
    with system_servers(folder) as servers, ExitStack() as services:
        deployed = Deployed(
            darkroom,
            home,
            {
                **servers,
                "KIE_BASE_URL": f"http://127.0.0.1:{kie}",
                "KIE_API_KEY": "simulated-kie-key",
                "API_PORT": str(api),
                "WORKER_HTTP_PORT": str(worker),
                "LOG_FORMAT": "json",
            },
        )
        simulator = ("simulate-kie", "--port", str(kie), "--api-key", "simulated-kie-key")
        services.enter_context(deployed.service(folder, *simulator, port=kie))
        deployed.run("migrate")
        deployed.run("accounts", "create", "acme")
        deployed.run("accounts", "grant", "acme", "100", "--reason", "a top-up")
        deployed.run("keys", "create", "--role", "admin", "--name", "first")
        services.enter_context(deployed.service(folder, "worker", port=worker))
        services.enter_context(deployed.service(folder, "api", port=api))
        for port in (api, worker):
            deployed.wait_until_healthy(port)
        links = deployed.run("enqueue", "--account", "acme", "--prompt", "a fox", "--wait")
        assert links.startswith(f"http://127.0.0.1:{kie}/images/")
        account = json.loads(deployed.run("accounts", "list", "--json"))
        assert (account["balance"], account["held"]) == (94, 0)
        deployed.run("doctor")
        assert os.listdir(home) == []
