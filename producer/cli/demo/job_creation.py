"""Places the demo's jobs the way most services do: over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from producer.cli.demo.demo_jobs import ACCOUNT, DEMO_JOBS
from producer.cli.demo.demo_processes import DemoProcesses
from producer.keys.key_store import KeyStore, Role
from shared.domain.job import Job
from shared.errors import DarkroomError

_TIMEOUT = aiohttp.ClientTimeout(total=15)
_ACCEPTED = 202


class EnqueueRefused(DarkroomError):
    """The API did not take the demo's jobs."""


async def enqueue_jobs(processes: DemoProcesses) -> list[Job]:
    """POST all scenes as one batch and return the jobs, in order. Raises `EnqueueRefused`."""
    url = f"http://{processes.addresses['api']}/v1/jobs/batch"
    async with (
        _key(processes) as headers,
        aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session,
        session.post(url, json={"jobs": job_bodies()}) as answer,
    ):
        if answer.status != _ACCEPTED:
            raise EnqueueRefused(f"the API answered {answer.status}: {(await answer.text())[:500]}")
        ids = [job["id"] for job in (await answer.json())["jobs"]]
    return [await processes.context.producer.get(job_id) for job_id in ids]


def job_bodies() -> list[dict[str, Any]]:
    """Return the scenes as the API takes them."""
    return [
        {
            "account_id": ACCOUNT,
            "model": demo_job.request.model,
            "task": demo_job.request.task,
            **demo_job.request.model_dump(mode="json", exclude_defaults=True),
        }
        for demo_job in DEMO_JOBS
    ]


@asynccontextmanager
async def _key(processes: DemoProcesses) -> AsyncIterator[dict[str, str]]:
    """Yield the headers that the API asks for; a key only where there are keys already."""
    key_store = KeyStore(processes.context.database)
    if not await key_store.has_any_key():
        # The first key would close the API to whoever uses it without one on this machine.
        yield {}
        return
    key, text = await key_store.create(Role.SERVICE, ACCOUNT, "for one run of the demo")
    try:
        yield {"Authorization": f"Bearer {text}"}
    finally:
        await key_store.revoke(key.prefix)
