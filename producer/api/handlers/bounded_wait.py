"""Waits for the end of a job on behalf of a caller, who may leave, as may this process."""

from __future__ import annotations

import asyncio

from producer.api.handler_context import ApiContext
from shared.adapters.async_tasks import stop_tasks
from shared.domain.job import Job
from shared.errors import WaitTimedOut


async def wait_for_end(context: ApiContext, job: Job, seconds: float) -> Job:
    """Return the job once it is terminal, or as it is when the time is over or we are leaving."""
    waiting = asyncio.create_task(_wait(context, job, seconds))
    stopping = asyncio.create_task(context.stopping.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        return await context.producer.get(job.id)
    finally:
        await stop_tasks([waiting, stopping])


async def _wait(context: ApiContext, job: Job, seconds: float) -> Job:
    try:
        return await context.producer.wait(job.id, timeout_seconds=seconds)
    except WaitTimedOut:
        return await context.producer.get(job.id)
