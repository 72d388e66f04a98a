"""Places the demo's jobs the way most services do: over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from producer.cli.demo.demo_jobs import ACCOUNT, SCENES
from producer.cli.demo.demo_processes import Stage
from producer.keys.key_store import KeyRing, Role
from shared.domain.job import Job
from shared.errors import DarkroomError

_TIMEOUT = aiohttp.ClientTimeout(total=15)
_ACCEPTED = 202


class NotAccepted(DarkroomError):
    """The API did not take the demo's jobs."""


async def place_jobs(stage: Stage) -> list[Job]:
    """POST all scenes as one batch and return the jobs, in order. Raises `NotAccepted`."""
    url = f"http://{stage.addresses['api']}/v1/jobs/batch"
    async with (
        _key(stage) as headers,
        aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session,
        session.post(url, json={"jobs": bodies()}) as answer,
    ):
        if answer.status != _ACCEPTED:
            raise NotAccepted(f"the API answered {answer.status}: {(await answer.text())[:500]}")
        ids = [job["id"] for job in (await answer.json())["jobs"]]
    return [await stage.desk.producer.get(job_id) for job_id in ids]


def bodies() -> list[dict[str, Any]]:
    """Return the scenes as the API takes them."""
    return [
        {
            "account_id": ACCOUNT,
            "model": scene.request.model,
            "task": scene.request.task,
            **scene.request.model_dump(mode="json", exclude_defaults=True),
        }
        for scene in SCENES
    ]


@asynccontextmanager
async def _key(stage: Stage) -> AsyncIterator[dict[str, str]]:
    """Yield the headers that the API asks for; a key only where there are keys already."""
    ring = KeyRing(stage.desk.database)
    if not await ring.is_configured():
        # The first key would close the API to whoever uses it without one on this machine.
        yield {}
        return
    key, text = await ring.create(Role.SERVICE, ACCOUNT, "for one run of the demo")
    try:
        yield {"Authorization": f"Bearer {text}"}
    finally:
        await ring.revoke(key.prefix)
