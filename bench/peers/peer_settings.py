"""The settings of a peer's process, from its environment. Runs in each peer's environment."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

READY = "the peer is ready"
"""Written to stderr when a worker accepts jobs."""
ACCOUNT = "peers"


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """The servers, and the options of the pipeline."""

    database_url: str
    redis_url: str
    kie_url: str
    kie_key: str
    first_poll_seconds: float
    """Seconds from the reply to the create to the first poll."""
    poll_seconds: float
    """Seconds from a poll to the next one."""
    is_tuned: bool
    """False: the library runs with its default options."""

    @property
    def redis_path(self) -> str:
        """The Unix socket of the Redis server."""
        return self.redis_url.removeprefix("unix://")


def read_peer_settings() -> PeerSettings:
    """Read the environment. Raises KeyError for a missing name."""
    environ = os.environ
    return PeerSettings(
        database_url=environ["DATABASE_URL"],
        redis_url=environ["REDIS_URL"],
        kie_url=environ["KIE_BASE_URL"],
        kie_key=environ["KIE_API_KEY"],
        first_poll_seconds=float(environ["PEER_FIRST_POLL_SECONDS"]),
        poll_seconds=float(environ["PEER_POLL_SECONDS"]),
        is_tuned=environ["PEER_TUNED"] == "1",
    )


def report_ready() -> None:
    """Report that this process accepts jobs."""
    sys.stderr.write(f"{READY}\n")
    sys.stderr.flush()
