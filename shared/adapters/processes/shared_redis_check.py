"""Checks at each heartbeat whether all workers of a database share one Redis.

Throttles, brakes and leases are correct only if all workers of a database use one Redis, and no
other database uses it. Each worker writes its presence to its Redis, and the time of that write to
its row in Postgres. If a worker's row keeps being updated but its presence never appears in this
Redis, the two processes use different Redis servers. A presence without a row belongs to another
database.

If workers use different Redis servers, only the oldest worker continues. If several databases share
one Redis, only the first one continues. A presence that is missing once proves nothing, because
Redis may have been wiped. It must be missing after two different writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog

from shared.adapters.processes.process_records import HeartbeatResult, LiveWorker, Process
from shared.adapters.processes.redis_presence import ALIVE_SECONDS, Presence, first_presence
from shared.domain.alerts.process_alert_rules import OWN_REDIS_FIX
from shared.errors import ConfigurationError

log = structlog.get_logger(__name__)

REDIS_NOT_SHARED = "redis_not_shared"
LIMITS_DIFFER = "limits_differ"
KEYS_DIFFER = "keys_differ"
KEYS_FIX = (
    "give all workers the same KIE_API_KEY or KIE_API_KEYS, each Kie account one name of its own;"
    " nothing, while a restart of one worker after another brings a new key of the same account"
)
_WRITES_NEEDED = 2
_PRESENCE_CERTAIN_SECONDS = ALIVE_SECONDS - 3
"""A presence older than this may have expired."""


class RedisSharing(StrEnum):
    """Whether the Redis of this process is shared with the other workers."""

    UNKNOWN = "open"
    """Not known yet."""
    SHARED = "proven"
    NOT_SHARED = "refuted"


class SharedRedisCheck:
    """The check of one process. Each heartbeat updates it."""

    def __init__(self, process: Process) -> None:
        self.state = RedisSharing.UNKNOWN
        self.reason = "Redis and Postgres were not both reached yet"
        """Why the Redis is not known to be shared, as a sentence for operators."""
        self._process = process
        self._previous: Mapping[UUID, float] = {}
        self._suspected: dict[UUID, set[float]] = {}
        self._difference = ""
        self._key_difference = ""

    def may_claim(self) -> bool:
        """Return whether jobs may be claimed: the Redis is known to be shared."""
        return self.state is RedisSharing.SHARED

    async def check(self) -> None:
        """Raise `ConfigurationError` if another Redis is used, or a worker may not claim."""
        is_worker = self._process.kind == "worker"
        if self.state is RedisSharing.NOT_SHARED or (is_worker and not self.may_claim()):
            raise ConfigurationError(self.reason)

    def update(self, result: HeartbeatResult) -> None:
        """Update the check with the result of a heartbeat."""
        self._compare_limits(result)
        if result.presences is not None:
            # Without a reply of Redis nothing new is known.
            self._compare_presences(result, result.presences)
        self._previous = {worker.id: worker.marked for worker in result.workers}

    def _compare_presences(self, result: HeartbeatResult, presences: tuple[Presence, ...]) -> None:
        foreign_presence = self._first_database(result, presences)
        missing = self._oldest_worker(result, presences)
        suspected: dict[UUID, set[float]] = {}
        sentences: list[tuple[UUID, str]] = []
        if foreign_presence is not None:
            suspected[foreign_presence.process_id] = {float(foreign_presence.seen_ms)}
            sentences.append(
                (foreign_presence.process_id, self._describe_other_database(foreign_presence))
            )
        if missing is not None:
            seen = self._previous.get(missing.id)
            is_certain = seen is not None and result.at - seen < _PRESENCE_CERTAIN_SECONDS
            suspected[missing.id] = {seen} if seen is not None and is_certain else set()
            sentences.append((missing.id, self._describe_other_redis(missing)))
        # Drop processes that are no longer suspected.
        self._suspected = {
            who: self._suspected.get(who, set()) | new for who, new in suspected.items()
        }
        for who, sentence in sentences:
            if len(self._suspected[who]) >= _WRITES_NEEDED:
                self._set_state(RedisSharing.NOT_SHARED, sentence)
                return
        if not sentences:
            self._set_state(RedisSharing.SHARED, "")
        elif self.state is RedisSharing.UNKNOWN:
            self.reason = (
                f"{sentences[0][1]}. Not certain yet: that process may have died, and is taken for"
                f" dead when it has sent no heartbeat for {ALIVE_SECONDS:g} s"
            )

    def _set_state(self, state: RedisSharing, reason: str) -> None:
        if state is RedisSharing.NOT_SHARED and (self.state, self.reason) != (state, reason):
            log.error(REDIS_NOT_SHARED, change="began", error=reason, fix="correct REDIS_URL")
        elif state is not self.state is RedisSharing.NOT_SHARED:
            log.info(REDIS_NOT_SHARED, change="over")
        self.state, self.reason = state, reason

    def _first_database(
        self, result: HeartbeatResult, presences: tuple[Presence, ...]
    ) -> Presence | None:
        """Return the first presence of this Redis if it belongs to another database."""
        first = first_presence(presences)
        return first if first is not None and first.process_id in result.unknown_ids else None

    def _oldest_worker(
        self, result: HeartbeatResult, presences: tuple[Presence, ...]
    ) -> LiveWorker | None:
        """Return the oldest worker of this database if its presence is not in this Redis."""
        if not result.workers:
            return None
        oldest, own = result.workers[0], (result.started, self._process.id)
        if self._process.kind == "worker" and own < (oldest.started, oldest.id):
            return None
        return None if any(presence.process_id == oldest.id for presence in presences) else oldest

    def _describe_other_redis(self, worker: LiveWorker) -> str:
        return (
            f"worker {worker.name} of this database uses another Redis: {worker.redis}, and this"
            f" process uses {self._process.redis}. Kie's limits hold only where all share one: give"
            " all workers and APIs the same REDIS_URL"
        )

    def _describe_other_database(self, presence: Presence) -> str:
        return (
            f"{presence.kind} {presence.name} of another database ({presence.database}) uses this"
            f" Redis ({self._process.redis}): each would take the other's deliveries."
            f" {OWN_REDIS_FIX[0].upper()}{OWN_REDIS_FIX[1:]}"
        )

    def _compare_limits(self, result: HeartbeatResult) -> None:
        if self._process.kind != "worker":
            return
        difference = differing_limits(self._process, result.workers)
        if difference and difference != self._difference:
            log.warning(LIMITS_DIFFER, change="began", difference=difference, fix="set them alike")
        elif self._difference and not difference:
            log.info(LIMITS_DIFFER, change="over")
        self._difference = difference
        keys = differing_keys(result)
        if keys and keys != self._key_difference:
            log.warning(KEYS_DIFFER, change="began", difference=keys, fix=KEYS_FIX)
        elif self._key_difference and not keys:
            log.info(KEYS_DIFFER, change="over")
        self._key_difference = keys


def differing_limits(process: Process, workers: tuple[LiveWorker, ...]) -> str:
    """Return a sentence on settings that differ from other workers, or an empty string."""
    own: Mapping[str, Any] = process.limits
    parts = []
    for name, value in own.items():
        others = [
            f"{worker.limits[name]} at {worker.name}"
            for worker in workers
            if name in worker.limits and worker.limits[name] != value
        ]
        if others:
            parts.append(f"{name} is {value} here, {', '.join(others)}")
    return "; ".join(parts)


def differing_keys(result: HeartbeatResult) -> str:
    """Return a sentence on Kie accounts whose keys or names differ from other workers."""
    parts = []
    for account, own in result.key_fingerprints.items():
        others = [
            worker.name
            for worker in result.workers
            if worker.key_fingerprints.get(account, own) != own
        ]
        if others:
            parts.append(f"the key of the Kie account {account} is another at {', '.join(others)}")
        renamed = [
            f"{name} at {worker.name}"
            for worker in result.workers
            for name, other in worker.key_fingerprints.items()
            if other == own and name != account
        ]
        if renamed:
            parts.append(f"the key of the Kie account {account} is that of {', '.join(renamed)}")
    return "; ".join(parts)
