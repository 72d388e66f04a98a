"""Real Postgres and Valkey servers on this machine, shared by all processes of one home.

The first client starts a watchdog process, which runs both servers. They stop when no client is
left.
"""

from shared.adapters.embedded.client import (
    EmbeddedServers,
    acquire_servers,
    find_running_servers,
    has_database,
)

__all__ = ["EmbeddedServers", "acquire_servers", "find_running_servers", "has_database"]
