"""The interface of a server that the watchdog runs."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Protocol

from shared.adapters.embedded.host.child_process import Command
from shared.adapters.embedded.host.deadline import Deadline

_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def server_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a server, without secrets and settings such as PGDATA.

    Other processes of the servers' user can read it.
    """
    passed = {name: environ[name] for name in _PASSED_ON if name in environ}
    return {**passed, "LC_ALL": "C"}


class Server(Protocol):
    """One kind of server: how to start, check and stop it."""

    @property
    def name(self) -> str:
        """The name of its log and lock."""

    @property
    def title(self) -> str:
        """The name for messages."""

    @property
    def stop_signals(self) -> Sequence[signal.Signals]:
        """The signals to stop it, in order. SIGKILL follows."""

    async def prepare(self, *, lock: int, log: int, deadline: Deadline) -> Command:
        """Create the data directory if needed, and return the command that starts the server.

        The caller holds the server's lock, so no such server runs. Raises EmbeddedServerError.
        """

    async def is_ready(self) -> bool:
        """Return whether the server is ready for clients. Called repeatedly."""

    def clean_up(self) -> None:
        """Remove files that a stopped server leaves outside its data."""
