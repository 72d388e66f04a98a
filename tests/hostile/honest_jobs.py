"""Honest jobs over the API: placed evenly, waited for, and repeated if the API is unavailable."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from tests.hostile.hostile_deployment import HONEST, HostileDeployment
from tests.support.percentiles import percentile

DURATION_SECONDS = 1.0
"""The time that the simulated Kie takes for each job."""
_AGAIN_AFTER_SECONDS = 0.2
_PATIENCE_SECONDS = 60.0
_ACCEPTED = 202
_ENDED = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(slots=True)
class Phase:
    """The results of honest callers in one phase."""

    took_seconds: list[float] = field(default_factory=list)
    """For each job that succeeded: the seconds from its order to the response with its end."""
    not_succeeded: list[str] = field(default_factory=list)
    tried_again: int = 0
    """How many requests were not served at once."""
    health_seconds: list[float] = field(default_factory=list)
    """The seconds of each request to `/healthz`, of both processes."""
    health_failures: int = 0

    def percentile(self, part: float) -> float:
        """Return the time within which that part of the jobs succeeded."""
        return percentile(self.took_seconds, 100 * part, of_none=math.inf)


async def run_honest_jobs(
    deployment: HostileDeployment, name: str, jobs: int, seconds: float
) -> Phase:
    """Place that many jobs evenly over the time, and wait until all have ended."""
    phase = Phase()
    loop = asyncio.get_running_loop()
    began = loop.time()
    headers = {"Authorization": f"Bearer {deployment.keys[HONEST]}"}
    base = f"http://127.0.0.1:{deployment.api_port}"
    timeout = aiohttp.ClientTimeout(total=40)
    async with aiohttp.ClientSession(base, headers=headers, timeout=timeout) as session:
        probing = asyncio.create_task(_probe(deployment, phase))
        tasks = []
        for number in range(jobs):
            await asyncio.sleep(max(0.0, began + number * seconds / jobs - loop.time()))
            tasks.append(asyncio.create_task(_one(session, f"{name}-{number}", phase)))
        await asyncio.gather(*tasks)
        await asyncio.sleep(max(0.0, began + seconds - loop.time()))
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
    return phase


async def _one(session: aiohttp.ClientSession, name: str, phase: Phase) -> None:
    body = {
        "task": "text-to-image",
        "prompt": f"{name} [[sim: duration={DURATION_SECONDS:g}]]",
        "aspect_ratio": "1:1",
    }
    began = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            job = await _repeat_until_served(session, phase, "POST", "/v1/jobs", name, body)
            while job["state"] not in _ENDED:
                path = f"/v1/jobs/{job['id']}?wait=30"
                job = await _repeat_until_served(session, phase, "GET", path, name, None)
    except TimeoutError:
        phase.not_succeeded.append(f"{name}: not ended within {_PATIENCE_SECONDS:g} s")
        return
    if job["state"] == "succeeded":
        phase.took_seconds.append(time.monotonic() - began)
    else:
        phase.not_succeeded.append(f"{name}: {job['state']} {job['reason']}")


async def _repeat_until_served(
    session: aiohttp.ClientSession,
    phase: Phase,
    method: str,
    path: str,
    key: str,
    body: Mapping[str, object] | None,
) -> dict[str, str]:
    """Repeat the request with the same key while the API is unavailable or the link breaks."""
    while True:
        try:
            async with session.request(
                method, path, json=body, headers={"Idempotency-Key": key}
            ) as answer:
                if answer.status in {200, _ACCEPTED}:
                    job: dict[str, str] = await answer.json()
                    return job
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass
        phase.tried_again += 1
        await asyncio.sleep(_AGAIN_AFTER_SECONDS)


async def _probe(deployment: HostileDeployment, phase: Phase) -> None:
    """Request `/healthz` of both processes twice a second, each time on a new connection."""
    while True:
        for port in (deployment.api_port, deployment.worker_port):
            began = time.monotonic()
            try:
                async with (
                    asyncio.timeout(10),
                    aiohttp.ClientSession() as session,
                    session.get(f"http://127.0.0.1:{port}/healthz") as answer,
                ):
                    phase.health_failures += answer.status != 200
            except (aiohttp.ClientError, TimeoutError, OSError):
                phase.health_failures += 1
            phase.health_seconds.append(time.monotonic() - began)
        await asyncio.sleep(0.5)
