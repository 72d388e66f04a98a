"""Runs the programs of the embedded wheels as servers of a test, with ports, folders and a user."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Any

from shared.adapters.embedded.host.unix_user import UnixUser, change_owner, choose_server_user
from shared.adapters.embedded.servers.server_programs import (
    Program,
    SearchPaths,
    ensure_executable_by,
    find_postgres,
    find_valkey,
)
from tests.support.eventually import within

_RUN_SECONDS = 60.0
_STOP_SECONDS = 20.0


# Below the ports that systems give to outgoing connections, and those of a campaign's processes:
# one of these may sit on the port of a server between its death and its next start.
_LOWEST_PORT, _HIGHEST_PORT = 12_000, 20_000
_given_ports: set[int] = set()


def free_port() -> int:
    """Return a free port, never the same one twice."""
    random = SystemRandom()
    while True:
        port = random.randrange(_LOWEST_PORT, _HIGHEST_PORT)
        if port in _given_ports:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given_ports.add(port)
            return port


@dataclass(slots=True)
class ServerPrograms:
    """Starts programs in a folder that their user can enter."""

    folder: Path
    account: UnixUser | None = field(default_factory=choose_server_user)

    def __post_init__(self) -> None:
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        change_owner(self.folder, self.account)

    def postgres(self, name: str) -> str:
        """Return the path of a program of Postgres."""
        return str(self._reachable(find_postgres(self._places)).directory / name)

    def valkey_server(self) -> str:
        """Return the path of `valkey-server`."""
        return str(self._reachable(find_valkey(self._places)).path)

    @property
    def _places(self) -> SearchPaths:
        return SearchPaths.from_environment(os.environ)

    def _reachable(self, program: Program) -> Program:
        return ensure_executable_by(self.account, program, self.folder / "binaries", owner=None)

    def make_folder(self, name: str) -> Path:
        """Create an empty folder that belongs to the user of the servers."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o700)
        change_owner(path, self.account)
        return path

    async def start(self, name: str, arguments: Sequence[str]) -> asyncio.subprocess.Process:
        """Start a server. Its output goes to a log next to its data."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"LC_ALL": "C", "PATH": os.environ.get("PATH", "")},
                **self._as_user(),
            )

    async def run(self, name: str, arguments: Sequence[str]) -> None:
        """Run a program to its end. Fails unless it exits with 0."""
        process = await self.start(name, arguments)
        try:
            code = await within(_RUN_SECONDS, f"{name} has ended", process.wait())
        finally:
            await end(process, signal.SIGKILL)
        if code != 0:
            log = (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]
            raise AssertionError(f"{arguments[0]} ended with {code}: {log}")

    def _as_user(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {
            "user": self.account.user_id,
            "group": self.account.group_id,
            "extra_groups": [],
        }


async def end(process: asyncio.subprocess.Process | None, number: signal.Signals) -> None:
    """Send the signal to a running server, and wait for its end. Kills it after a timeout."""
    if process is None or process.returncode is not None:
        return
    process.send_signal(number)
    with suppress(AssertionError):
        await within(_STOP_SECONDS, "the server has ended", process.wait())
        return
    process.kill()
    await within(_STOP_SECONDS, f"the killed process {process.pid} is dead", process.wait())
