"""What a process that needs the embedded servers holds in its hands."""

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
    """A lease on the servers of one home; they run at least until it is released.

    The lease also ends with this process, however that dies. Should the watchdog be killed, a new
    one is started and the URLs stay the same. Usable from any thread.
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
        """For asyncpg and psql; None when Postgres was not asked for."""
        self.redis_url: str | None = urls.get("redis_url")
        """For redis-py; None when Valkey was not asked for."""

    def ensure_process(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout_seconds: float = 20.0,
    ) -> dict[str, str]:
        """Have a program running that all clients of this home share; return what it said.

        It starts on first demand or when it died, in this process's directory and environment
        with `env` on top, and is stopped with the servers. It is ready once it has moved a file
        with one JSON object of strings to the path in `DARKROOM_READY_FILE`; that is returned.
        While a process of this name lives it is reused, whatever `argv` says.
        Raises EmbeddedServerError when it ends first or is not ready in time.
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
                # It was killed; the keeper of our lease is starting its successor.
                time.sleep(_RETRY_SECONDS)
        raise EmbeddedServerError(
            "the lease on the embedded servers was released: call acquire_servers again"
        )

    def release(self) -> None:
        """Give the lease back; again and again does no harm."""
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
    """Return the process that runs the servers of a home, or None; starts and makes nothing.

    Raises EmbeddedServerError where it is another user's.
    """
    return find_watchdog(Home(home.resolve(), None))


def acquire_servers(
    home: Path,
    *,
    postgres: bool = True,
    valkey: bool = True,
    linger_seconds: float = 3.0,
    fsync: bool = True,
    timeout_seconds: float = 60.0,
) -> EmbeddedServers:
    """Return a lease on running servers, starting them where needed; blocks until they answer.

    They keep running for `linger_seconds` after the last lease of this home ended (the greatest
    that was asked for). `fsync=False` is for tests: commits may be lost with the machine, not
    with the process; it ends as soon as one client asks for `fsync=True`.
    Raises EmbeddedServerError, with the end of the server's log where that helps.
    """
    deadline = Deadline.after(timeout_seconds)
    request = AttachRequest(postgres, valkey, linger_seconds, fsync, timeout_seconds)
    return EmbeddedServers(open_home(home), request, deadline)
