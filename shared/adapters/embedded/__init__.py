"""Real Postgres and Valkey servers on this machine, shared by all processes of one home.

The first client starts a watchdog, which owns both servers; the last one out ends them.
"""

from shared.adapters.embedded.client import EmbeddedServers, acquire_servers, find_running_servers

__all__ = ["EmbeddedServers", "acquire_servers", "find_running_servers"]
