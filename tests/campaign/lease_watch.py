"""Reads from Valkey which deliveries a killed worker had under lease."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from arq.constants import in_progress_key_prefix
from redis.exceptions import RedisError

from shared.adapters.redis.deliveries import Lane
from tests.campaign.campaign_deployment import CampaignDeployment
from worker.queue.leased_worker import LEASE_MS

_LANES = {Lane.SUBMIT.name.lower(): "submitting", Lane.POLL.name.lower(): "polling"}
_LOOK_SECONDS = 0.5
_SECOND_LOOK_SECONDS = 4.0
# A living owner renews every quarter of a lease, so its leases are never as short as the second,
# and hardly as short as the first. What is shorter already belongs to a frozen or cut off worker.
_RENEWED_MS = LEASE_MS - 3_000
_UNRENEWED_MS = LEASE_MS - 3_500


@dataclass(frozen=True, slots=True)
class Orphan:
    """A delivery under a lease of a worker that was killed."""

    killed_at_epoch: float
    job_id: UUID
    doing: str
    """`submitting` or `polling`."""


class LeaseWatch:
    """Records the orphans of every kill, if Valkey answers."""

    def __init__(self, deployment: CampaignDeployment) -> None:
        self._redis = deployment.redis
        self.orphans: list[Orphan] = []
        self.blind_kills = 0
        """Kills whose orphans are not known, because Valkey was down."""

    async def read_leases(self) -> Mapping[bytes, bytes] | None:
        """Return the lease holder of each delivery, or None if Valkey does not answer."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                keys = [
                    key
                    for lane in _LANES
                    async for key in self._redis.scan_iter(
                        f"{in_progress_key_prefix}{lane}:*", count=5_000
                    )
                ]
                owners = await self._redis.mget(keys) if keys else []
                left_ms = await self._left_ms(keys)
        except (RedisError, OSError, TimeoutError):
            return None
        return {
            key: owner
            for key, owner, left in zip(keys, owners, left_ms, strict=True)
            if owner is not None and left > _RENEWED_MS
        }

    async def _left_ms(self, keys: Sequence[bytes]) -> list[int]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.pttl(key)
            return [int(left) for left in await pipe.execute()]

    async def note_orphans(self, before: Mapping[bytes, bytes] | None, killed_at: float) -> None:
        """Read the leases again after a kill. Those not renewed were the dead worker's."""
        if before is None:
            self.blind_kills += 1
            return
        await asyncio.sleep(_SECOND_LOOK_SECONDS)
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                for key, owner in before.items():
                    same = await self._redis.get(key) == owner
                    if same and 0 < await self._redis.pttl(key) < _UNRENEWED_MS:
                        _, lane, job_id = key.decode().rsplit(":", 2)
                        self.orphans.append(Orphan(killed_at, UUID(job_id), _LANES[lane]))
        except (RedisError, OSError, TimeoutError):
            self.blind_kills += 1
