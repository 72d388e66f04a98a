"""Makes polls due all the time, as an operator who keeps refreshing does (harsh faults only)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from redis.exceptions import RedisError

from shared.adapters.async_tasks import stop_if_cancelled, stop_tasks
from shared.adapters.redis.deliveries import DeliveryQueue, Lane
from shared.errors import RedisDown
from tests.campaign.campaign_deployment import CampaignDeployment
from tests.campaign.campaign_options import CampaignOptions

_AT_ONCE = 20
_PAUSE_SECONDS = 0.05
_AFTER_AN_OUTAGE_SECONDS = 1.0


@asynccontextmanager
async def requesting_polls(
    deployment: CampaignDeployment, options: CampaignOptions
) -> AsyncIterator[None]:
    """Make polls of random jobs due now during the block."""
    tasks = (
        [asyncio.create_task(_make_polls_due(deployment))] if options.fault_level == "harsh" else []
    )
    try:
        yield
    finally:
        await stop_tasks(tasks)


async def _make_polls_due(deployment: CampaignDeployment) -> None:
    delivery_queue = DeliveryQueue(deployment.redis)
    while True:
        stop_if_cancelled()
        try:
            arq_ids = await deployment.redis.zrandmember(Lane.POLL.value, _AT_ONCE)
            for lane, _, job_id in (arq_id.decode().partition(":") for arq_id in arq_ids):
                if lane == Lane.POLL.name.lower():
                    await delivery_queue.make_due_now(UUID(job_id), Lane.POLL)
        except (RedisError, RedisDown, OSError):
            await asyncio.sleep(_AFTER_AN_OUTAGE_SECONDS)
        await asyncio.sleep(_PAUSE_SECONDS)
