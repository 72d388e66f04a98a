"""The watchdog process: runs the servers of one home while at least one client is connected.

A client is attached by its connection, because the kernel closes it when the client dies.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from shared.adapters.embedded.auxiliary_processes import AuxiliaryProcesses
from shared.adapters.embedded.control_messages import (
    LONGEST_LINE_BYTES,
    AttachRequest,
    Request,
    decode_request,
    encode_answer,
    encode_failure,
)
from shared.adapters.embedded.host.child_process import take_over_lock
from shared.adapters.embedded.host.deadline import Deadline
from shared.adapters.embedded.host.file_lock import record_holder
from shared.adapters.embedded.host.home import Home, open_home
from shared.adapters.embedded.host.layout import Layout, choose_layout, make_runtime, remove_runtime
from shared.adapters.embedded.host.unix_user import change_owner
from shared.adapters.embedded.servers.postgres_server import Postgres
from shared.adapters.embedded.servers.server_programs import SearchPaths
from shared.adapters.embedded.servers.valkey_server import Valkey
from shared.adapters.embedded.supervisor import Supervisor
from shared.errors import EmbeddedServerError

READY = "ready"
_PREDECESSOR_SECONDS = 30.0
_TRUNCATE_LOGS_SECONDS = 3.0

logger = logging.getLogger("darkroom.watchdog")


FIRST_CLIENT_SECONDS = 10.0
"""How long a new watchdog waits for the client that started it, which may have died."""


class Watchdog:
    """Serves the control socket, and runs the servers that clients request."""

    def __init__(self, layout: Layout, environ: Mapping[str, str]) -> None:
        self._layout, self._environ = layout, environ
        self._paths = SearchPaths.from_environment(environ)
        self._clients = ClientCount()
        self._auxiliary = AuxiliaryProcesses(layout.home)
        self._valkey = Valkey(layout, self._paths, environ)
        self._valkey_supervisor = Supervisor(self._valkey, layout.home)
        self._postgres: Postgres | None = None
        self._postgres_supervisor: Supervisor | None = None

    async def run(self, status: IO[str]) -> None:
        """Serve until the last client has left, then stop everything. Writes READY to `status`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._clients.stop)
        control = await asyncio.start_unix_server(
            self._serve_client, sock=self._bind_control_socket(), limit=LONGEST_LINE_BYTES
        )
        self._write_address()
        _report(status, READY)
        logger.info("watching over %s", self._layout.home.path)
        truncating = asyncio.create_task(self._truncate_logs())
        try:
            await self._clients.wait_until_unused()
        finally:
            truncating.cancel()
            # Close the socket before stopping, so that a new client starts the next watchdog.
            control.close()
            self._layout.control_socket.unlink(missing_ok=True)
            self._layout.home.address_file.unlink(missing_ok=True)
            await self._stop_everything()

    async def _truncate_logs(self) -> None:
        """Truncate logs at intervals, because callers can make a server write to its log."""
        while True:
            await asyncio.sleep(_TRUNCATE_LOGS_SECONDS)
            try:
                await asyncio.to_thread(self._layout.home.truncate_logs)
            except OSError as error:
                logger.warning("a log cannot be set aside: %s", error)

    async def _serve_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        linger_seconds = 0.0
        self._clients.add()
        try:
            while line := await reader.readline():
                try:
                    request = decode_request(line)
                    if isinstance(request, AttachRequest):
                        linger_seconds = max(linger_seconds, request.linger_seconds)
                    answer = encode_answer(await self._grant(request))
                except EmbeddedServerError as error:
                    answer = encode_failure(str(error))
                except OSError as error:
                    logger.exception("a request failed")
                    answer = encode_failure(f"the watchdog failed: {error}")
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            logger.info("a client vanished before it read its answer")
        finally:
            self._clients.remove(linger_seconds)
            writer.close()

    async def _grant(self, request: Request) -> dict[str, str]:
        if not isinstance(request, AttachRequest):
            return await self._auxiliary.ensure(request)
        deadline = Deadline.after(request.timeout_seconds)
        values: dict[str, str] = {}
        wanted = []
        if request.postgres:
            wanted.append(self._start_postgres(request.fsync, deadline, values))
        if request.valkey:
            wanted.append(self._start_valkey(deadline, values))
        await asyncio.gather(*wanted)
        return values

    async def _start_postgres(
        self, fsync: bool, deadline: Deadline, values: dict[str, str]
    ) -> None:
        if self._postgres is None or self._postgres_supervisor is None:
            self._postgres = Postgres(self._layout, self._paths, self._environ, fsync=fsync)
            self._postgres_supervisor = Supervisor(self._postgres, self._layout.home)
        await self._postgres_supervisor.wait_until_ready(deadline)
        if fsync:
            await self._postgres.require_fsync()
        values["database_url"] = self._postgres.url

    async def _start_valkey(self, deadline: Deadline, values: dict[str, str]) -> None:
        await self._valkey_supervisor.wait_until_ready(deadline)
        values["redis_url"] = self._valkey.url

    async def _stop_everything(self) -> None:
        await self._auxiliary.stop()
        supervisors = [self._valkey_supervisor]
        if self._postgres_supervisor is not None:
            supervisors.append(self._postgres_supervisor)
        await asyncio.gather(*(supervisor.stop() for supervisor in supervisors))

    def _bind_control_socket(self) -> socket.socket:
        path = self._layout.control_socket
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        # Clients can run programs, so the socket must never be accessible to other users.
        previous = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(previous)
        return listener

    def _write_address(self) -> None:
        address = {"pid": os.getpid(), "control": str(self._layout.control_socket)}
        path = self._layout.home.address_file
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(address) + "\n", encoding="utf-8")
        change_owner(draft, self._layout.home.owner)
        draft.replace(path)


def main(arguments: list[str]) -> None:
    """Parse HOME --lock-fd N --status-fd N, fork into the background, and run the watchdog."""
    parser = argparse.ArgumentParser(prog="watchdog")
    parser.add_argument("home", type=Path)
    parser.add_argument("--lock-fd", type=int, required=True)
    parser.add_argument("--status-fd", type=int, required=True)
    options = parser.parse_args(arguments)
    home = open_home(options.home)
    if os.fork() != 0:
        # The client waits for this process, so the watchdog never becomes its zombie child.
        os._exit(0)
    _redirect_output(home)
    record_holder(options.lock_fd, os.getpid())
    with os.fdopen(options.status_fd, "w", encoding="utf-8") as status:
        try:
            asyncio.run(_watch(choose_layout(home, os.environ), status))
        except EmbeddedServerError as error:
            logger.exception("cannot watch over %s", home.path)
            _report(status, str(error))
            raise SystemExit(1) from error


async def _watch(layout: Layout, status: IO[str]) -> None:
    lock = await _take_runtime(layout)
    record_holder(lock, os.getpid())
    try:
        await Watchdog(layout, os.environ).run(status)
    finally:
        remove_runtime(layout)


async def _take_runtime(layout: Layout) -> int:
    # A running watchdog whose home was removed still uses the same socket paths.
    deadline = Deadline.after(_PREDECESSOR_SECONDS)
    while True:
        make_runtime(layout)
        try:
            return await take_over_lock(
                layout.runtime_lock,
                signals=(signal.SIGTERM,),
                log=layout.home.log("watchdog"),
                deadline=deadline,
            )
        except FileNotFoundError:
            # It has ended and removed the directory. Create it again.
            continue


def _redirect_output(home: Home) -> None:
    log = home.open_log("watchdog")
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)sZ %(levelname)s %(name)s: %(message)s"
    )


def _report(status: IO[str], text: str) -> None:
    if not status.closed:
        status.write(text)
        status.close()


class ClientCount:
    """Counts the clients of the watchdog, and decides when it ends."""

    def __init__(self, first_client_seconds: float = FIRST_CLIENT_SECONDS) -> None:
        self._open = 0
        self._linger_seconds = 0.0
        self._leave_at = Deadline.after(first_client_seconds)
        self._ended = False
        self._changed = asyncio.Event()

    def add(self) -> None:
        """Count a new client."""
        self._open += 1
        self._changed.set()

    def remove(self, linger_seconds: float) -> None:
        """Count a client that has left. The greatest `linger_seconds` of all clients counts."""
        self._open -= 1
        self._linger_seconds = max(self._linger_seconds, linger_seconds)
        self._leave_at = Deadline.after(self._linger_seconds)
        self._changed.set()

    def stop(self) -> None:
        """End the wait now, also with connected clients."""
        self._ended = True
        self._changed.set()

    async def wait_until_unused(self) -> None:
        """Wait until no client is left and the linger time has passed."""
        while not self._ended:
            if self._open == 0 and self._leave_at.is_over:
                return
            self._changed.clear()
            wait_seconds = None if self._open else self._leave_at.remaining_seconds
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._changed.wait()
            except TimeoutError:
                continue


if __name__ == "__main__":
    main(sys.argv[1:])
