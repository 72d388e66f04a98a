"""The client of the embedded servers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from shared.adapters.embedded.attachment import (
    PersistentAttachment,
    WatchdogGone,
    ask,
    attach,
    find_watchdog,
)
from shared.adapters.embedded.control_messages import AttachRequest, EnsureRequest
from shared.adapters.embedded.host.deadline import Deadline
from shared.adapters.embedded.host.home import Home, open_home
from shared.errors import EmbeddedServerError

_RETRY_SECONDS = 0.02


class EmbeddedServers:
    """An attachment to the servers of one home. They run at least until it is released.

    The attachment also ends with this process. If the watchdog is killed, a new one is started, and
    the URLs stay the same. Thread-safe.
    """

    def __init__(self, home: Home, request: AttachRequest, deadline: Deadline) -> None:
        self._home = home
        connection, urls = attach(home, request, deadline)

        def reattach() -> socket.socket:
            reattached, _ = attach(home, request, Deadline.after(request.timeout_seconds))
            return reattached

        self._attachment = PersistentAttachment(connection, reattach)
        self.home: Path = home.path
        self.database_url: str | None = urls.get("database_url")
        """For asyncpg and psql. None if Postgres was not requested."""
        self.redis_url: str | None = urls.get("redis_url")
        """For redis-py. None if Valkey was not requested."""

    def ensure_process(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout_seconds: float = 20.0,
    ) -> dict[str, str]:
        """Run a program that all clients of this home share, and return its JSON object.

        The program starts at the first call, or after it died, in the directory and environment of
        this process, plus `env`. It stops with the servers. It is ready when it has moved a file
        with one JSON object of strings to the path in `DARKROOM_READY_FILE`. The object is
        returned. A live process of this name is reused, even if `argv` differs.
        Raises EmbeddedServerError if it ends before it is ready, or is not ready in time.
        """
        environ = {**os.environ, **(env or {})}
        request = EnsureRequest(name, tuple(argv), environ, os.getcwd(), timeout_seconds)
        deadline = Deadline.after(timeout_seconds)
        while not self._attachment.is_closed:
            try:
                return ask(self._home, request, timeout_seconds)
            except WatchdogGone as error:
                if deadline.is_over:
                    raise EmbeddedServerError(
                        f"the watchdog of {self.home} is gone, so {name!r} cannot be started"
                    ) from error
                # The watchdog was killed. The attachment's thread starts a new one.
                time.sleep(_RETRY_SECONDS)
        raise EmbeddedServerError(
            "the lease on the embedded servers was released: call acquire_servers again"
        )

    def release(self) -> None:
        """Release the servers. Can be called repeatedly."""
        self._attachment.close()

    def __enter__(self) -> EmbeddedServers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def find_running_servers(home: Path) -> int | None:
    """Return the process id of the watchdog of a home, or None. Starts and creates nothing.

    Raises EmbeddedServerError if the watchdog belongs to another user.
    """
    return find_watchdog(Home(home.resolve(), None))


def has_database(home: Path) -> bool:
    """Return whether a home has a database, or its servers run. Starts and creates nothing.

    Data that this user cannot see counts, so that who opens it is told why. Raises like
    `find_running_servers`.
    """
    resolved = home.resolve()
    try:
        has_data = (resolved / "postgres").exists() or (resolved / "state").is_symlink()
    except PermissionError:
        return True
    return has_data or find_running_servers(home) is not None


def acquire_servers(
    home: Path,
    *,
    postgres: bool = True,
    valkey: bool = True,
    linger_seconds: float = 3.0,
    fsync: bool = True,
    timeout_seconds: float = 60.0,
) -> EmbeddedServers:
    """Start the servers of a home if needed, and return an attachment. Blocks until they are ready.

    The servers keep running for `linger_seconds` after the last client has left. The greatest value
    of all clients counts. `fsync=False` is for tests: commits may be lost if the machine crashes.
    It ends as soon as one client requests `fsync=True`.
    Raises EmbeddedServerError, if possible with the end of the server's log.
    """
    deadline = Deadline.after(timeout_seconds)
    request = AttachRequest(postgres, valkey, linger_seconds, fsync, timeout_seconds)
    return EmbeddedServers(open_home(home), request, deadline)
