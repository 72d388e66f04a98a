"""Describes the Postgres and the Redis that the doctor uses."""

from __future__ import annotations

from producer.doctor.finding import Finding
from shared.adapters.postgres.connections.notification_check import find_unheard_reason
from shared.adapters.postgres.database import Queries
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


async def check_notifications(servers: Servers, queries: Queries) -> Finding:
    """Return the finding about the way of notifications to workers. Raises `PostgresDown`."""
    unheard = await find_unheard_reason(servers.listening_url, queries)
    if unheard is None:
        return Finding("notifications", True, "Postgres's notifications arrive")
    return Finding(
        "notifications",
        False,
        f"{unheard.partition(':')[0]}: webhooks, and jobs of your own transactions, come up to 6 s"
        " later",
        unheard.partition(": ")[2] or "set it to the same database, or unset it",
    )
