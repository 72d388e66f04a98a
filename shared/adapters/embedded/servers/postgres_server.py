"""The embedded Postgres: its data directory, command line and readiness."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from shared.adapters.embedded.host.child_process import Command, spawn, stop
from shared.adapters.embedded.host.deadline import Deadline
from shared.adapters.embedded.host.layout import Layout
from shared.adapters.embedded.host.log_files import format_log_tail
from shared.adapters.embedded.host.process_info import is_postgres_of
from shared.adapters.embedded.host.unix_user import change_owner
from shared.adapters.embedded.servers import postgres_protocol as wire
from shared.adapters.embedded.servers.server_programs import (
    Program,
    SearchPaths,
    ensure_executable,
    find_postgres,
)
from shared.adapters.embedded.servers.server_protocol import server_environ
from shared.errors import EmbeddedServerError

DATABASE = "darkroom"
_PORT = 5432
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(_PORT),
    "shared_buffers": "32MB",
    "max_connections": "100",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Callers can cause errors repeatedly: log one line for each, without statement, context and
    # hint.
    "log_min_error_statement": "fatal",
    "log_error_verbosity": "terse",
}
_WITHOUT_IO_WORKERS = {"io_method": "sync"}
"""From Postgres 18. Its three processes for reads are for databases larger than memory."""
_CONFIGURATION = "# Darkroom gives the settings on the command line; what you add here holds too.\n"


class Postgres:
    """The Postgres of one home. It needs no password: the directory of its socket is private."""

    name = "postgres"
    title = "Postgres"
    stop_signals = (signal.SIGINT, signal.SIGQUIT)  # SIGTERM would wait for clients

    def __init__(
        self, layout: Layout, paths: SearchPaths, environ: Mapping[str, str], *, fsync: bool
    ) -> None:
        self._layout, self._paths = layout, paths
        self._environ = server_environ(environ)
        self._fsync = fsync

    @property
    def url(self) -> str:
        """The URL for asyncpg and psql. It names the port, so that PGPORT does not change it."""
        host = quote(str(self._layout.sockets), safe="")
        return f"postgresql://{wire.ROLE}@{host}:{_PORT}/{DATABASE}"

    @property
    def _socket(self) -> Path:
        return self._layout.sockets / f".s.PGSQL.{_PORT}"

    async def prepare(self, *, lock: int, log: int, deadline: Deadline) -> Command:
        """See `Server`."""
        program = ensure_executable(find_postgres(self._paths), self._layout)
        data = self._layout.postgres_data
        if not data.exists():
            await self._initialise(program, lock=lock, log=log, deadline=deadline)
        self._check_version(program)
        self._remove_leftovers()
        settings = {**_SETTINGS, "unix_socket_directories": f'"{self._layout.sockets}"'}
        settings |= _WITHOUT_IO_WORKERS if program.version[0] >= 18 else {}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._command([str(program.path), "-D", str(data), *options], signal.SIGINT)

    async def is_ready(self) -> bool:
        """See `Server`. Creates the database if it is missing."""
        try:
            await wire.execute(self._socket, DATABASE, *self._durability())
        except wire.PostgresRefusal as refusal:
            if refusal.code == wire.NO_SUCH_DATABASE:
                await self._create_database()
                return False
            if refusal.code in wire.STARTING_UP:
                return False
            raise EmbeddedServerError(str(refusal)) from refusal
        except (OSError, TimeoutError):
            return False
        return True

    async def require_fsync(self) -> None:
        """Turn fsync on, even if an earlier client has requested `fsync=False`."""
        if self._fsync:
            return
        self._fsync = True
        await wire.execute(self._socket, DATABASE, *self._durability())

    def clean_up(self) -> None:
        """See `Server`."""
        self._socket.unlink(missing_ok=True)
        self._socket.with_name(f"{self._socket.name}.lock").unlink(missing_ok=True)

    async def _create_database(self) -> None:
        try:
            # Renaming the empty database of initdb is faster than copying the template.
            rename = f"ALTER DATABASE postgres RENAME TO {DATABASE}"
            await wire.execute(self._socket, "template1", rename)
        except wire.PostgresRefusal:
            await wire.execute(self._socket, "template1", f"CREATE DATABASE {DATABASE}")

    def _durability(self) -> tuple[str, str]:
        state = "on" if self._fsync else "off"
        return f"ALTER SYSTEM SET fsync = {state}", "SELECT pg_reload_conf()"

    async def _initialise(
        self, program: Program, *, lock: int, log: int, deadline: Deadline
    ) -> None:
        layout = self._layout
        # Under another name first, so that an interrupted initdb is never used as a database.
        unfinished = layout.postgres_data.with_name("postgres.unfinished")
        await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        change_owner(unfinished, layout.user)
        argv = [str(program.directory / "initdb"), "-D", str(unfinished), "-U", wire.ROLE]
        argv += ["--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        process = await spawn(self._command(argv, signal.SIGTERM), log=log, lock=lock)
        try:
            async with asyncio.timeout(deadline.remaining_seconds):
                code = await process.wait()
        except TimeoutError as error:
            raise EmbeddedServerError(f"initdb was not done in time{self._quote()}") from error
        finally:
            await stop(process, (signal.SIGTERM,), group=True)
        if code != 0:
            raise EmbeddedServerError(f"initdb failed with code {code}{self._quote()}")
        # Settings on the command line and none here, so that a reload finds no conflict.
        (unfinished / "postgresql.conf").write_text(_CONFIGURATION, encoding="utf-8")
        unfinished.rename(layout.postgres_data)

    def _check_version(self, program: Program) -> None:
        data = self._layout.postgres_data
        try:
            made_by = (data / "PG_VERSION").read_text(encoding="ascii").strip()
        except FileNotFoundError as error:
            raise EmbeddedServerError(
                f"{data} is not a Postgres data directory: move it away to start with an empty one"
            ) from error
        if made_by != str(program.version[0]):
            raise EmbeddedServerError(
                f"the data in {data} was made by Postgres {made_by}, but {program.path} is"
                f" {program.version[0]}: run `pip install 'darkroom-queue[embedded]'` for the"
                " pinned version, or move that directory away to start with an empty one"
            )

    def _remove_leftovers(self) -> None:
        """Remove files of a killed server, which would make the next one believe that it is alive.

        Our servers hold our lock while they run. A PID in the file is therefore a zombie's or was
        reused, unless an operator has started Postgres on this directory.
        """
        pid_file = self._layout.postgres_data / "postmaster.pid"
        if pid_file.exists():
            pid = pid_file.read_text(encoding="utf-8", errors="replace").split("\n")[0].strip()
            is_number = pid.isascii() and pid.isdigit()
            if is_number and is_postgres_of(int(pid), self._layout.postgres_data):
                raise EmbeddedServerError(
                    f"Postgres process {pid}, which Darkroom did not start, uses"
                    f" {self._layout.postgres_data}: stop it with `kill -INT {pid}`"
                )
            pid_file.unlink()
        self.clean_up()

    def _command(self, argv: list[str], death_signal: signal.Signals) -> Command:
        return Command(tuple(argv), self._environ, Path("/"), self._layout.user, death_signal)

    def _quote(self) -> str:
        return format_log_tail(self._layout.home.log(self.name))
