"""A real cluster of three Valkeys without replicas, on ports of this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.adapters.embedded.servers.server_programs import SearchPaths, find_valkey
from tests.support.deployment import eventually
from tests.support.ports import free_port

SLOTS = 16_384
_NODES = 3


class ValkeyCluster:
    """The nodes by number. Each owns a third of the slots at first."""

    def __init__(self, nodes: list[Any], ports: list[int]) -> None:
        self.nodes = nodes
        self.ports = ports

    def url(self, number: int) -> str:
        """Return the URL of a node."""
        return f"redis://127.0.0.1:{self.ports[number]}"

    async def slot_of(self, key: str) -> int:
        """Return the slot of a key."""
        return int(await self.nodes[0].execute_command("CLUSTER", "KEYSLOT", key))

    async def owner_of(self, slot: int) -> int:
        """Return the number of the node that owns the slot."""
        for first, last, (_, port, *_rest), *_replicas in await self.nodes[0].execute_command(
            "CLUSTER", "SLOTS"
        ):
            if first <= slot <= last:
                return self.ports.index(port)
        raise AssertionError(f"nobody owns slot {slot}")

    async def begin_move(self, slot: int, target: int) -> int:
        """Begin to move the slot: its owner refuses keys that it does not have. Returns it."""
        source = await self.owner_of(slot)
        ids = [await self._id_of(number) for number in (source, target)]
        await self._set_slot(target, slot, "IMPORTING", ids[0])
        await self._set_slot(source, slot, "MIGRATING", ids[1])
        return source

    async def end_move(self, slot: int, source: int, target: int) -> None:
        """Move the keys of the slot, and make the target its owner."""
        while keys := await self.nodes[source].execute_command(
            "CLUSTER", "GETKEYSINSLOT", slot, 100
        ):
            await self.nodes[source].execute_command(
                *("MIGRATE", "127.0.0.1", self.ports[target], "", 0, 5_000, "KEYS", *keys)
            )
        owner = await self._id_of(target)
        for number in (target, source, *range(_NODES)):
            await self._set_slot(number, slot, "NODE", owner)

    async def _set_slot(self, number: int, slot: int, *words: Any) -> None:
        await self.nodes[number].execute_command("CLUSTER", "SETSLOT", slot, *words)

    async def _id_of(self, number: int) -> str:
        answer: bytes = await self.nodes[number].execute_command("CLUSTER", "MYID")
        return answer.decode()


@asynccontextmanager
async def running_cluster(folder: Path, program: str | None = None) -> AsyncIterator[ValkeyCluster]:
    """Run a cluster in the block, by default of the embedded Valkey. Yields when it serves."""
    program = program or str(find_valkey(SearchPaths.from_environment(os.environ)).path)
    ports = [free_port() for _ in range(_NODES)]
    bus_ports = [free_port() for _ in range(_NODES)]
    processes = [
        await _start(program, folder / str(port), port, bus_port)
        for port, bus_port in zip(ports, bus_ports, strict=True)
    ]
    nodes: list[Any] = [Redis(host="127.0.0.1", port=port) for port in ports]
    try:
        cluster = ValkeyCluster(nodes, ports)
        for number, node in enumerate(nodes):
            await eventually(lambda node=node: _answers(node), "the node answers")  # type: ignore[misc]
            slots = (number * SLOTS // _NODES, (number + 1) * SLOTS // _NODES - 1)
            await node.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
            await node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for ports_of_node in zip(ports[1:], bus_ports[1:], strict=True):
            await nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", *ports_of_node)
        for node in nodes:
            await eventually(lambda node=node: _serves(node), "the cluster is ok")  # type: ignore[misc]
        yield cluster
    finally:
        for node in nodes:
            await node.aclose()
        for process in processes:
            process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))


async def _start(
    program: str, folder: Path, port: int, bus_port: int
) -> asyncio.subprocess.Process:
    folder.mkdir()
    options = {
        "port": port,
        "bind": "127.0.0.1",
        "dir": folder,
        "save": "",
        "cluster-enabled": "yes",
        "cluster-port": bus_port,
        "cluster-node-timeout": 5_000,
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    with (folder / "log").open("wb") as log:
        return await asyncio.create_subprocess_exec(program, *words, stdout=log, stderr=log)


async def _answers(node: Any) -> bool:
    try:
        return bool(await node.ping())
    except RedisError:
        return False


async def _serves(node: Any) -> bool:
    state = await node.execute_command("CLUSTER INFO")
    seen = (state["cluster_state"], state["cluster_known_nodes"])
    return seen == ("ok", str(_NODES))
