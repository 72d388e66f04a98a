"""Reads and deletes the evidence of alerts that Redis keeps until an operator has dealt with them.

Workers store it: when Redis was wiped, and what Postgres has lost.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from producer.actor import Actor, actor_to_json
from shared.adapters.postgres.database import Database
from shared.adapters.redis.deliveries import DeliveryQueue
from shared.adapters.redis.lost_write_log import EventPosition, LostWriteEvidence, LostWriteLog
from shared.adapters.redis.lua_scripts import load_script
from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.domain.alerts.alert import AcknowledgedAlert
from shared.errors import Fault, InvalidRequest
from shared.redis_keys import WIPED_KEY

_RECORDED_MAX = 100
"""Of how many jobs and events an audit entry has the ids. It has the numbers of all."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What an acknowledgement has deleted."""

    name: AcknowledgedAlert
    acknowledged: int
    """The number of pieces of evidence that were deleted. 0: there was nothing."""
    left: int = 0
    """The number of pieces that were stored since the evidence was read."""
    lost_writes: LostWriteEvidence | None = None
    """The evidence of `writes_lost`."""


class AlertEvidence:
    """The evidence in one Redis. Every method may raise `RedisDown`."""

    def __init__(self, database: Database, delivery_queue: DeliveryQueue) -> None:
        self._database = database
        self._redis = delivery_queue.redis
        self._lost_writes = LostWriteLog(delivery_queue.redis)

    async def lost_writes(self) -> LostWriteEvidence:
        """Return what Postgres has lost, as far as workers have noticed it."""
        return await self._lost_writes.read()

    async def acknowledge(
        self,
        name: AcknowledgedAlert | str,
        *,
        seen: LostWriteEvidence | None = None,
        actor: Actor | str | None = None,
    ) -> Acknowledgement:
        """Delete the evidence of an alert that has been dealt with. The alert is then over.

        Of `writes_lost`, `seen` is deleted, or without it what is stored now. What workers have
        stored since then is left, and so is the alert. The same holds for a second wipe. An audit
        entry names `actor`, or the Postgres login without one. Without evidence there is none.
        Raises `InvalidRequest` and `PostgresDown`.
        """
        if name not in tuple(AcknowledgedAlert):
            allowed = ", ".join(AcknowledgedAlert)
            raise InvalidRequest([Fault("name", f"{name!r:.80} must be one of {allowed}")])
        alert = AcknowledgedAlert(name)
        if alert is AcknowledgedAlert.WRITES_LOST:
            return await self._acknowledge_lost_writes(seen or await self.lost_writes(), actor)
        return await self._acknowledge_wipe(actor)

    async def _acknowledge_wipe(self, actor: Actor | str | None) -> Acknowledgement:
        alert = AcknowledgedAlert.REDIS_WAS_WIPED
        with translated_redis_errors():
            at_ms = await self._redis.get(WIPED_KEY)
        if at_ms is None:
            return Acknowledgement(alert, 0)
        wiped_at = datetime.fromtimestamp(int(at_ms) / 1000, UTC).isoformat()
        await self._record(alert, {"wiped_at": wiped_at}, actor)
        delete = self._redis.register_script(load_script("shared", "delete_same_value").source)
        with translated_redis_errors():
            deleted = int(await delete(keys=[WIPED_KEY], args=[at_ms]))
            left = await self._redis.exists(WIPED_KEY)
        return Acknowledgement(alert, deleted, left)

    async def _acknowledge_lost_writes(
        self, seen: LostWriteEvidence, actor: Actor | str | None
    ) -> Acknowledgement:
        alert = AcknowledgedAlert.WRITES_LOST
        if not seen.fields:
            return Acknowledgement(alert, 0, await self._lost_writes.count(), seen)
        recorded = {
            "jobs": [asdict(one) for one in seen.jobs[:_RECORDED_MAX]],
            "jobs_in_all": len(seen.jobs),
            "missing_events": [asdict(gone) for gone, _ in seen.missing_events[:_RECORDED_MAX]],
            "missing_events_in_all": len(seen.missing_events),
        }
        await self._record(alert, recorded, actor)
        deleted, left = await self._lost_writes.delete(seen)
        return Acknowledgement(alert, deleted, left, seen)

    async def _record(
        self, alert: AcknowledgedAlert, evidence: dict[str, Any], actor: Actor | str | None
    ) -> None:
        # Before the deletion: if the process dies between them, the alert stays and is
        # acknowledged again. Evidence without an entry would be gone.
        await self._database.fetch(
            "record_acknowledgement",
            alert.value,
            orjson.dumps(evidence).decode(),
            actor_to_json(actor),
        )


def lost_writes_to_json(evidence: LostWriteEvidence) -> dict[str, Any]:
    """Return the jobs and events that are lost, as the HTTP API has them."""
    return {
        "jobs": [
            {
                "job_id": one.job_id,
                "task_id": one.task_id,
                "kie_account": one.account,
                "is_known": one.is_known,
            }
            for one in evidence.jobs
        ],
        "missing_events": [
            {
                "event_id": gone.event_id,
                "at": _iso_time(gone),
                "newest_event_id": None if newest is None else newest.event_id,
                "newest_at": None if newest is None else _iso_time(newest),
            }
            for gone, newest in evidence.missing_events
        ],
    }


def acknowledgement_to_json(done: Acknowledgement) -> dict[str, Any]:
    """Return what was acknowledged, as the HTTP API has it."""
    return {
        "name": done.name.value,
        "acknowledged": done.acknowledged,
        "left": done.left,
        "lost_writes": None if done.lost_writes is None else lost_writes_to_json(done.lost_writes),
    }


def _iso_time(event: EventPosition) -> str:
    return datetime.fromisoformat(event.at).isoformat()
