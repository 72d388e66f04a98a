"""What a peer's process is told by its environment. Runs in every peer's environment."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

READY = "the peer is ready"
"""Written to stderr once a worker takes jobs."""
ACCOUNT = "peers"


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """Where the servers are, and how the pipeline is to be run."""

    database_url: str
    redis_url: str
    kie_url: str
    kie_key: str
    first_poll_seconds: float
    """From the reply to create until the first poll."""
    poll_seconds: float
    """From a poll until the next."""
    is_tuned: bool
    """False: every option of the library stands at its default."""

    @property
    def redis_path(self) -> str:
        """The Unix socket of the Redis server."""
        return self.redis_url.removeprefix("unix://")


def read_peer_settings() -> PeerSettings:
    """Read the environment; raises KeyError where a name lacks."""
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
    """Tell whoever started this process that it takes jobs."""
    sys.stderr.write(f"{READY}\n")
    sys.stderr.flush()
