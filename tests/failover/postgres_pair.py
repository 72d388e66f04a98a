"""A Postgres primary with one standby, which can be killed, promoted and rebuilt."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from tests.failover.failover_servers import ServerPrograms, end, free_port
from tests.support.eventually import until, within

USER = "darkroom"
_STANDBY = "standby"
_STATEMENT_SECONDS = 40.0
_DEAD_SECONDS = 10.0


@dataclass(slots=True)
class PostgresNode:
    """One server of the pair."""

    name: str
    port: int
    data: Path
    process: asyncio.subprocess.Process | None = None


class PostgresPair:
    """The two servers. With `is_synchronous`, a commit returns when the standby has it."""

    def __init__(self, programs: ServerPrograms, *, is_synchronous: bool) -> None:
        self._programs = programs
        self._is_synchronous = is_synchronous
        self.primary, self.standby = (
            PostgresNode(name, free_port(), programs.folder / name) for name in ("pg-a", "pg-b")
        )

    @property
    def url(self) -> str:
        """Return the URL that names both servers."""
        nodes = sorted((self.primary, self.standby), key=lambda node: node.name)
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        return f"postgresql://{USER}@{hosts}/darkroom?target_session_attrs=read-write"

    async def start(self) -> None:
        """Create the primary and its standby."""
        node = self.primary
        self._programs.make_folder(node.name)
        initdb = [self._programs.postgres("initdb"), "-D", str(node.data), "-U", USER]
        await self._programs.run(
            "initdb", [*initdb, "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        )
        await self._serve(node)
        await self._execute(node, "CREATE DATABASE darkroom", database="postgres")
        await self.add_standby()

    async def add_standby(self) -> None:
        """Copy the primary into the other folder, and start the copy as its standby."""
        node = self.standby
        await end(node.process, signal.SIGINT)
        # A missing standby must not delay the statements of the base backup.
        await self._wait_for_standby(is_wanted=False)
        self._programs.make_folder(node.name)
        source = f"host=127.0.0.1 port={self.primary.port} user={USER} application_name={_STANDBY}"
        backup = [self._programs.postgres("pg_basebackup"), "-D", str(node.data), "-d", source]
        await self._programs.run(
            "pg_basebackup", [*backup, "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        )
        await self._serve(node)
        await self._until_streaming()
        await self._wait_for_standby(is_wanted=self._is_synchronous)

    async def kill_primary(self) -> float:
        """Kill the primary and all its processes with SIGKILL. Return the time (epoch)."""
        process = self.primary.process
        assert process is not None
        rows = await self._fetch(self.primary, "SELECT pg_is_in_recovery() AS follows")
        assert not rows[0]["follows"], f"{self.primary.name} is to be killed and is no primary"
        at_epoch = time.time()
        process.kill()
        await within(_DEAD_SECONDS, f"{self.primary.name} is dead", process.wait())
        return at_epoch

    async def promote(self) -> float:
        """Promote the standby. Return the time of the command."""
        at_epoch = time.time()
        self.primary, self.standby = self.standby, self.primary
        await self._execute(self.primary, "SELECT pg_promote(true, 30)")
        await self._wait_for_standby(is_wanted=False)
        return at_epoch

    async def stall_standby(self) -> None:
        """Disconnect the standby. Later commits are only on the primary."""
        await self._execute(self.standby, "ALTER SYSTEM SET primary_conninfo = ''")
        await self._execute(self.standby, "SELECT pg_reload_conf()")

        async def is_alone() -> bool:
            return not await self._fetch(self.primary, "SELECT 1 FROM pg_stat_replication")

        await until(is_alone, "the standby is cut off")

    async def stop(self) -> None:
        """Stop both servers."""
        for node in (self.standby, self.primary):
            await end(node.process, signal.SIGINT)

    async def _wait_for_standby(self, *, is_wanted: bool) -> None:
        names = _STANDBY if is_wanted else ""
        statement = f"ALTER SYSTEM SET synchronous_standby_names = '{names}'"
        await self._execute(self.primary, statement)
        await self._execute(self.primary, "SELECT pg_reload_conf()")

    async def _until_streaming(self) -> None:
        async def is_streaming() -> bool:
            rows = await self._fetch(
                self.primary,
                "SELECT 1 FROM pg_stat_replication"
                " WHERE state = 'streaming' AND replay_lsn >= pg_current_wal_lsn()",
            )
            return bool(rows)

        await until(is_streaming, "the standby follows")

    async def _serve(self, node: PostgresNode) -> None:
        settings = {
            "port": str(node.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "32MB",
            "max_connections": "200",
            "fsync": "off",
            "timezone": "UTC",
            "wal_receiver_status_interval": "1s",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        program = self._programs.postgres("postgres")
        pid_file = node.data / "postmaster.pid"
        with suppress(FileNotFoundError):
            pid_file.unlink()
        node.process = await self._programs.start(
            node.name, [program, "-D", str(node.data), *options]
        )

        async def answers() -> bool:
            assert node.process is not None
            assert node.process.returncode is None, f"{node.name} did not start"
            try:
                await self._execute(node, "SELECT 1", database="postgres")
            except (OSError, asyncpg.PostgresError):
                return False
            return True

        await until(answers, f"{node.name} answers")

    async def _execute(
        self, node: PostgresNode, statement: str, database: str = "postgres"
    ) -> None:
        await self._fetch(node, statement, database)

    async def _fetch(
        self, node: PostgresNode, statement: str, database: str = "postgres"
    ) -> list[dict[str, Any]]:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=node.port, user=USER, database=database, timeout=10
        )
        what = f"{node.name} answers to: {statement}"
        try:
            rows = await within(_STATEMENT_SECONDS, what, connection.fetch(statement))
            return [dict(row) for row in rows]
        finally:
            connection.terminate()


@asynccontextmanager
async def running_postgres_pair(
    programs: ServerPrograms, *, is_synchronous: bool = True
) -> AsyncIterator[PostgresPair]:
    """Run a primary and its standby during the block."""
    pair = PostgresPair(programs, is_synchronous=is_synchronous)
    try:
        await pair.start()
        yield pair
    finally:
        await pair.stop()
        for node in (pair.primary, pair.standby):
            shutil.rmtree(node.data, ignore_errors=True)
