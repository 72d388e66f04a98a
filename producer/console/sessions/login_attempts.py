"""Limits how often a login may fail, per network and in total, in all processes of the API."""

from __future__ import annotations

from producer.actor import Actor, actor_to_json
from producer.keys.key_format import prefix_of
from shared.adapters.postgres.database import Queries
from shared.errors import KeyRefused

WINDOW_SECONDS = 60.0
FAILURES_OF_NETWORK_MAX = 10
FAILURES_MAX = 100


class LoginAttempts:
    """The failed logins, in Postgres. Every method may raise `PostgresDown`.

    A key has 256 random bits, which cannot be guessed. The limits bound the cost of tries.
    """

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def seconds_until_allowed(self, network: str) -> int | None:
        """Return for how many seconds a login from this network is refused, or None."""
        row = await self._queries.fetch_row(
            "login_wait", network, WINDOW_SECONDS, FAILURES_OF_NETWORK_MAX, FAILURES_MAX
        )
        seconds: int | None = row["seconds"] if row is not None else None
        return seconds

    async def record_failure(
        self,
        refused: KeyRefused,
        key: str,
        *,
        network: str,
        address: str | None,
        user_agent: str | None,
    ) -> None:
        """Store a failed login. Of the given key, only the prefix is stored."""
        actor = Actor(f"console:{address or 'unknown'}", via="console", origin=address)
        await self._queries.fetch_row(
            "record_login_failure",
            network,
            address,
            user_agent,
            refused.reason,
            prefix_of(key),
            actor_to_json(actor),
        )
