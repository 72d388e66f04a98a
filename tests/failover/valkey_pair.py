"""A Valkey primary with one replica, and three Sentinels that promote it when the primary dies."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.failover.failover_servers import ServerPrograms, end, free_port
from tests.support.eventually import until, within

SERVICE = "darkroom"
_SETTLED_SECONDS = 60.0
"""Sentinels wait twice their failover timeout before the next failover."""
_DEAD_SECONDS = 10.0
_DOWN_AFTER_MS = 3_000
"""On a loaded machine a server is sometimes silent for a second: with a second here, the
Sentinels failed over from a running primary, two seconds after they had promoted it."""
_FAILOVER_MS = 6_000


@dataclass(slots=True)
class ValkeyNode:
    """One server: a data server or a Sentinel."""

    name: str
    port: int
    data: Path
    process: asyncio.subprocess.Process | None = None


class ValkeyPair:
    """The two data servers and their Sentinels."""

    def __init__(self, programs: ServerPrograms) -> None:
        self._programs = programs
        self.primary, self.replica = self._node("valkey-a"), self._node("valkey-b")
        self.sentinels = [self._node(f"sentinel-{number}") for number in (1, 2, 3)]

    def _node(self, name: str) -> ValkeyNode:
        return ValkeyNode(name, free_port(), self._programs.make_folder(name))

    @property
    def url(self) -> str:
        """The URL that names the Sentinels."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    async def start(self) -> None:
        """Start all five servers, and wait until the Sentinels know each other and the replica."""
        await self._serve(self.primary)
        await self._serve(self.replica, "--replicaof", "127.0.0.1", str(self.primary.port))
        await until(self._is_following, "the replica follows")
        for node in self.sentinels:
            await self._watch(node)
        await until(self._are_agreed, "the Sentinels know each other")

    async def kill_primary(self) -> float:
        """Kill the current primary with SIGKILL. Return the time (epoch)."""
        await self._until_settled()
        process = self.primary.process
        assert process is not None
        at_epoch = time.time()
        process.kill()
        await within(_DEAD_SECONDS, f"{self.primary.name} is dead", process.wait())
        return at_epoch

    async def demote_primary(self) -> None:
        """Make the Sentinels fail over from a running primary, which becomes the replica.

        They promote the other first: for a moment both are primaries.
        """
        await _ask(self.sentinels[0], "SENTINEL", "FAILOVER", SERVICE)
        await self.until_promoted()
        await self._until_settled()

    async def until_promoted(self) -> float:
        """Wait until the Sentinels have promoted the replica. Return the time (epoch)."""

        async def is_promoted() -> bool:
            return await self._role(self.replica) == "master"

        await until(is_promoted, f"{self.replica.name}, the replica, is promoted", _SETTLED_SECONDS)
        at_epoch = time.time()
        self.primary, self.replica = self.replica, self.primary
        return at_epoch

    async def add_replica(self) -> None:
        """Start the dead server again, as the replica of the new primary."""
        await self._serve(self.replica, "--replicaof", "127.0.0.1", str(self.primary.port))
        await self._until_settled()

    async def order(self, node: ValkeyNode, *command: str) -> Any:
        """Send a command to one server, as an operator does. Return its answer."""
        return await _ask(node, *command)

    async def count_promotions(self) -> int:
        """Return the number of promotions by the Sentinels so far."""
        return int((await self._facts(self.sentinels[0]))["config-epoch"])

    async def _until_settled(self) -> None:
        """Wait until all Sentinels agree on a primary with its replica.

        The Sentinels may fail over by themselves at any time: roles are read, never remembered.
        """

        async def is_settled() -> bool:
            if await self._role(self.primary) != "master":
                self.primary, self.replica = self.replica, self.primary
                return False
            return await self._is_following() and await self._are_agreed()

        what = "one Valkey is the primary, the other follows it, and the Sentinels agree on both"
        await until(is_settled, what, _SETTLED_SECONDS)

    async def stop(self) -> None:
        """Stop all five servers."""
        for node in (*self.sentinels, self.replica, self.primary):
            await end(node.process, signal.SIGKILL)

    async def _serve(self, node: ValkeyNode, *options: str) -> None:
        arguments = [self._programs.valkey_server(), "--port", str(node.port), "--bind"]
        arguments += ["127.0.0.1", "--dir", str(node.data), "--appendonly", "yes", "--save", ""]
        arguments += ["--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0"]
        node.process = await self._programs.start(node.name, [*arguments, *options])

        async def answers() -> bool:
            return await self._role(node) is not None

        await until(answers, f"{node.name} answers")

    async def _watch(self, node: ValkeyNode) -> None:
        lines = [
            f"port {node.port}",
            "bind 127.0.0.1",
            f"dir {node.data}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.primary.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} {_FAILOVER_MS}",
        ]
        configuration = node.data / "sentinel.conf"
        configuration.write_text("\n".join(lines) + "\n")
        configuration.chmod(0o666)
        program = self._programs.valkey_server()
        node.process = await self._programs.start(
            node.name, [program, str(configuration), "--sentinel"]
        )

    async def _role(self, node: ValkeyNode) -> str | None:
        try:
            role = await _ask(node, "ROLE")
        except (RedisError, OSError):
            return None
        return str(role[0].decode())

    async def _is_following(self) -> bool:
        try:
            role = await _ask(self.replica, "ROLE")
        except (RedisError, OSError):
            return False
        return bool(role[0] == b"slave" and role[3] == b"connected")

    async def _are_agreed(self) -> bool:
        for node in self.sentinels:
            try:
                facts = await self._facts(node)
            except (RedisError, OSError):
                return False
            is_known = facts["num-slaves"] == "1" and facts["num-other-sentinels"] == "2"
            is_up = facts["flags"] == "master"
            if not (is_known and is_up and facts["port"] == str(self.primary.port)):
                return False
        return True

    async def _facts(self, sentinel: ValkeyNode) -> dict[str, str]:
        raw = await _ask(sentinel, "SENTINEL", "MASTER", SERVICE)
        known = raw if isinstance(raw, dict) else dict(zip(raw[::2], raw[1::2], strict=True))
        return {_text(key): _text(value) for key, value in known.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


async def _ask(node: ValkeyNode, *command: str) -> Any:
    client = Redis(host="127.0.0.1", port=node.port, socket_timeout=2, socket_connect_timeout=2)
    try:
        asking: Awaitable[Any] = client.execute_command(*command)  # type: ignore[no-untyped-call]
        return await asking
    finally:
        await client.aclose()


@asynccontextmanager
async def running_valkey_pair(programs: ServerPrograms) -> AsyncIterator[ValkeyPair]:
    """Run two Valkeys and three Sentinels during the block."""
    pair = ValkeyPair(programs)
    try:
        await pair.start()
        yield pair
    finally:
        await pair.stop()
        for node in (pair.primary, pair.replica, *pair.sentinels):
            shutil.rmtree(node.data, ignore_errors=True)
