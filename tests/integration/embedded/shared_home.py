"""Controls client processes of one home, and inspects its server processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import redis

from shared.adapters.embedded.host.file_lock import read_holder
from shared.adapters.embedded.host.process_info import is_alive

PROJECT = Path(__file__).resolve().parents[3]
CLIENT = Path(__file__).with_name("client_program.py")
QUICK = {"linger_seconds": 0.1, "fsync": False, "timeout_seconds": 20.0}
VALKEY_ONLY = {"postgres": False}
WAIT_SECONDS = 15.0


def wait_for(what: str, condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Wait until the condition holds. Fails with `what` after the timeout."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"after {seconds} s still not: {what}"
        time.sleep(0.01)


@dataclass
class Client:
    """One client process and its last output."""

    process: subprocess.Popen[str]

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the client ended with code {self.process.wait()} and said nothing"
        heard: dict[str, Any] = json.loads(line)
        return heard

    def urls(self) -> dict[str, Any]:
        heard = self.hear()
        assert "error" not in heard, heard["error"]
        return heard

    def tell(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def ensure(self, **command: Any) -> dict[str, Any]:
        self.tell(**command)
        return self.hear()

    def leave(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(WAIT_SECONDS) == 0
        self._close_output()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_SECONDS)
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._close_output()

    def freeze(self) -> None:
        """Suspend it. Returns when all its threads are suspended."""
        self.process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "it ended instead of stopping"

    def _close_output(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass
class SharedHome:
    """A home under test, its clients and their processes."""

    home: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    interpreter: str = sys.executable
    project: Path = PROJECT
    user: int | None = None
    clients: list[Client] = field(default_factory=list)

    def start_client(self, **options: Any) -> Client:
        program = self.project / CLIENT.relative_to(PROJECT)
        search = os.pathsep.join([str(self.project), os.environ.get("PYTHONPATH", "")])
        process = subprocess.Popen(
            [self.interpreter, str(program), str(self.home), json.dumps({**QUICK, **options})],
            env={**os.environ, "PYTHONPATH": search, **self.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            cwd="/",
        )
        client = Client(process)
        self.clients.append(client)
        return client

    def pids(self) -> dict[str, int]:
        """Return the watchdog and the servers that hold their locks, by name."""
        names = {"watchdog": self.home / "lock"}
        for name in ("postgres", "valkey"):
            names[name] = self.home / "run" / f"{name}.lock"
        found = {name: read_holder(path) for name, path in names.items()}
        return {name: pid for name, pid in found.items() if pid is not None and is_alive(pid)}

    def replaced(self, name: str, before: Mapping[str, int]) -> bool:
        """Return whether another process has this role now."""
        return self.pids().get(name, before[name]) != before[name]

    def kill(self, *names: str) -> None:
        """Send SIGKILL to these processes."""
        pids = self.pids()
        for name in names:
            os.kill(pids[name], signal.SIGKILL)

    def wait_until_all_ended(self) -> None:
        wait_for("everything ended", lambda: not self.pids())

    def end(self) -> None:
        """Remove everything that the test left."""
        for client in self.clients:
            client.kill()
        try:
            self.wait_until_all_ended()
        finally:
            for pid in self.pids().values():
                os.kill(pid, signal.SIGKILL)


async def remember(urls: Mapping[str, Any], word: str) -> None:
    """Write the word into both servers."""
    connection = await asyncpg.connect(urls["database_url"])
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS words (word text)")
        await connection.execute("INSERT INTO words VALUES ($1)", word)
    finally:
        await connection.close()
    with redis.Redis.from_url(urls["redis_url"]) as client:
        client.rpush("words", word)


async def recall(urls: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Read the words back from Postgres and Valkey."""
    connection = await asyncpg.connect(urls["database_url"])
    try:
        rows = await connection.fetch("SELECT word FROM words")
    finally:
        await connection.close()
    with redis.Redis.from_url(urls["redis_url"], decode_responses=True) as client:
        words = client.lrange("words", 0, -1)
    assert isinstance(words, list)
    return [row["word"] for row in rows], words


async def answers(urls: Mapping[str, Any]) -> bool:
    """Return whether both servers reply at these URLs."""
    try:
        await recall(urls)
    except (OSError, asyncpg.PostgresError, redis.RedisError):
        return False
    return True
