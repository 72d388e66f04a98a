"""What the watchdog needs to know about a server in order to run it."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Protocol

from shared.adapters.embedded.host.child_process import Command
from shared.adapters.embedded.host.deadline import Deadline

_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def server_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a server: without secrets, and without settings (PGDATA, PGPORT).

    Other processes of the servers' user can read it, and settings would be meant for others.
    """
    passed = {name: environ[name] for name in _PASSED_ON if name in environ}
    return {**passed, "LC_ALL": "C"}


class Server(Protocol):
    """One kind of server: how to start it, how to see that it answers, how to stop it."""

    @property
    def name(self) -> str:
        """Names its log and its lock."""

    @property
    def title(self) -> str:
        """As people write it."""

    @property
    def stop_signals(self) -> Sequence[signal.Signals]:
        """The gentlest first; SIGKILL is added."""

    async def prepare(self, *, lock: int, log: int, deadline: Deadline) -> Command:
        """Make the data directory where needed, and return how to start the server.

        Called with the server's lock held, so no such server runs. Raises EmbeddedServerError.
        """

    async def is_ready(self) -> bool:
        """Whether the server is ready for clients; made so as to be asked again and again."""

    def clean_up(self) -> None:
        """Remove what a stopped server leaves outside its data."""
