"""The embedded Valkey: its data directory, command line and readiness."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping

from shared.adapters.embedded.host.child_process import Command
from shared.adapters.embedded.host.deadline import Deadline
from shared.adapters.embedded.host.layout import Layout
from shared.adapters.embedded.host.unix_user import change_owner
from shared.adapters.embedded.servers.server_programs import (
    SearchPaths,
    ensure_executable,
    find_valkey,
)
from shared.adapters.embedded.servers.server_protocol import server_environ

_ANSWER_SECONDS = 5.0


class Valkey:
    """The Valkey of one home, with an append-only file.

    Valkey does not detect a second server on its directory. Our lock prevents it.
    """

    name = "valkey"
    title = "Valkey"
    stop_signals = (signal.SIGTERM,)

    def __init__(self, layout: Layout, paths: SearchPaths, environ: Mapping[str, str]) -> None:
        self._layout, self._paths = layout, paths
        self._environ = server_environ(environ)

    @property
    def url(self) -> str:
        """The URL for redis-py."""
        return f"unix://{self._layout.valkey_socket}"

    async def prepare(self, *, lock: int, log: int, deadline: Deadline) -> Command:
        """See `Server`."""
        program = ensure_executable(find_valkey(self._paths), self._layout)
        data = self._layout.valkey_data
        data.mkdir(mode=0o700, exist_ok=True)
        change_owner(data, self._layout.user)
        self.clean_up()
        argv = [str(program.path), "--port", "0", "--daemonize", "no"]
        argv += ["--unixsocket", str(self._layout.valkey_socket), "--unixsocketperm", "700"]
        argv += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        argv += ["--maxmemory-policy", "noeviction"]
        # The data directory is the working directory, so that no path needs Valkey's quoting.
        return Command(tuple(argv), self._environ, data, self._layout.user, signal.SIGTERM)

    async def is_ready(self) -> bool:
        """See `Server`. False while Valkey loads the append-only file."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(str(self._layout.valkey_socket))
                try:
                    writer.write(b"PING\r\n")
                    answer = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
        return answer == b"+PONG\r\n"

    def clean_up(self) -> None:
        """See `Server`."""
        self._layout.valkey_socket.unlink(missing_ok=True)
