"""Describes the Postgres and the Redis that the doctor uses."""

from __future__ import annotations

from producer.doctor.finding import Finding
from shared.adapters.servers import Servers
from shared.postgres_url import database_address
from shared.redis_url.redis_url import redis_address
from shared.settings import Settings


def describe_servers(servers: Servers, settings: Settings, watchdog: int | None) -> Finding:
    """Return the finding about the servers in use.

    `watchdog` is the process that ran the embedded servers before the doctor opened them. Other
    findings report whether the servers answer.
    """
    parts = [
        f"Postgres {database_address(servers.database_url)} as given"
        if settings.database_url is not None
        else "Postgres embedded",
    ]
    if servers.redis_url:
        parts.append(
            f"Redis {redis_address(servers.redis_url)} as given"
            if settings.redis_url is not None
            else "Valkey embedded"
        )
    if servers.embedded is not None:
        parts.append(
            f"the embedded ones are in {servers.embedded.home}, "
            + (
                f"and process {watchdog} runs them"
                if watchdog is not None
                else "did not run, and were started for the doctor: no worker and no API uses them"
            )
        )
    return Finding("servers", True, "; ".join(parts))
