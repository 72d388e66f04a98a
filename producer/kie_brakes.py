"""Ends the brakes of Kie accounts, for operators who have removed what Kie refused.

Workers apply a brake by themselves and store it in Redis. It also ends by itself, after a probe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import cast

import orjson

from producer.actor import MAX_REASON_LENGTH, Actor, actor_to_json
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import DeliveryQueue, Lane
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.catalog import list_families
from shared.errors import Fault, InvalidRequest
from shared.redis_keys import WAKE_UP_CHANNEL, brake_key, family_brake_key


@dataclass(frozen=True, slots=True)
class EndedBrake:
    """A brake that was ended."""

    kie_account: str
    model: str | None
    """None for the brake of all submits of the account."""
    reason: str
    """Why the workers had applied it, such as `account_refused`."""
    message: str
    """What Kie had answered."""


class KieBrakes:
    """Ends brakes. Every method may raise `PostgresDown` and `RedisDown`."""

    def __init__(self, database: Database, delivery_queue: DeliveryQueue) -> None:
        self._database = database
        self._delivery_queue = delivery_queue

    async def end(
        self,
        kie_account: str,
        model: str | None = None,
        *,
        reason: str,
        actor: Actor | str | None = None,
    ) -> list[EndedBrake]:
        """End the brakes of a Kie account, or its brake for one model, and return them.

        Submits go on at once. If Kie still refuses them, workers apply the brake again. Returns an
        empty list if no such brake is on. Raises `InvalidRequest`.
        """
        if not 1 <= len(reason.strip()) <= MAX_REASON_LENGTH:
            wanted = f"must be text of 1 to {MAX_REASON_LENGTH} characters"
            raise InvalidRequest([Fault("reason", f"{reason!r:.80} {wanted}")])
        found = await self._read(kie_account, model)
        if not found:
            return []
        # Recorded first: an act without an entry would be worse than an entry of what failed.
        before = orjson.dumps([asdict(brake) for brake in found.values()]).decode()
        await self._database.fetch(
            "record_brake_end", kie_account, before, reason, actor_to_json(actor)
        )
        redis = self._delivery_queue.redis
        with translated_redis_errors():
            pipe = redis.pipeline(transaction=False)
            pipe.delete(*found)
            pipe.publish(WAKE_UP_CHANNEL, Lane.SUBMIT.value)
            await pipe.execute()
        return list(found.values())

    async def _read(self, kie_account: str, model: str | None) -> dict[str, EndedBrake]:
        """Return the brakes that are on, by their Redis keys."""
        models = list(list_families()) if model is None else [model]
        keys: dict[str, str | None] = {family_brake_key(kie_account, one): one for one in models}
        if model is None:
            keys = {brake_key(kie_account): None, **keys}
        with translated_redis_errors():
            pipe = self._delivery_queue.redis.pipeline(transaction=False)
            for key in keys:
                pipe.hgetall(key)
            rows = cast("list[Mapping[bytes, bytes]]", await pipe.execute())
        return {
            key: EndedBrake(
                kie_account,
                of_model,
                row.get(b"reason", b"").decode(errors="replace"),
                row.get(b"message", b"").decode(errors="replace"),
            )
            for (key, of_model), row in zip(keys.items(), rows, strict=True)
            if int(row.get(b"level", b"0")) > 0
        }
