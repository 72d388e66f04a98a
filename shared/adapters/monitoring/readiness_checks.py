"""What `/readyz` asks: whether both servers answer, and take what this process writes."""

from __future__ import annotations

from collections.abc import Mapping

from shared.adapters.monitoring.health_endpoints import Check
from shared.adapters.monitoring.incident_log import POSTGRES, REDIS
from shared.adapters.postgres.database import Database
from shared.adapters.processes.process_registry import ProcessRegistry
from shared.adapters.redis.deliveries import DeliveryQueue


def make_readiness_checks(
    database: Database, delivery_queue: DeliveryQueue, processes: ProcessRegistry
) -> Mapping[str, Check]:
    """Return the checks by server, and the one of whether Redis is shared.

    Those of servers raise the server's own words while it refuses.

    Redis is written to at each check. What is written to Postgres is the row of this process,
    every five seconds, so that asking often costs nothing.
    """

    async def check_postgres() -> None:
        await database.ping()
        if processes.last_error is not None:
            raise processes.last_error

    return {
        POSTGRES: check_postgres,
        REDIS: delivery_queue.ping,
        "shared_redis": processes.shared_redis.check,
    }
