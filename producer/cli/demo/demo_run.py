"""Runs the jobs of the demo over HTTP and collects the result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp

from producer.accounts.account import Account
from producer.billing import Billing
from producer.cli.demo.demo_jobs import ACCOUNT, DEMO_JOBS, ExpectedCosts
from producer.cli.demo.demo_processes import DemoProcesses
from producer.cli.demo.simulator_record import (
    FetchedImage,
    KieRecord,
    fetch_image,
    is_ready,
    read_record,
)
from producer.cli.display.job_progress import wait_with_progress
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.domain.job import Job
from shared.errors import AlreadyExists, DarkroomError

WAIT_SECONDS = 60.0
GRANT = Decimal(100)
"""The available credits of the demo's account before each run."""

_TIMEOUT = aiohttp.ClientTimeout(total=15)
_ACCEPTED = 202

Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The result of the demo, for its checks and its report."""

    expected_costs: ExpectedCosts
    jobs: tuple[Job, ...]
    entries: tuple[Entries, ...]
    """The ledger entries of each job."""
    before: Account
    after: Account
    kie_before: KieRecord
    kie_after: KieRecord
    image: FetchedImage | None
    ready: Mapping[str, bool]
    """Whether worker and API reported that they are ready."""
    had_leftovers: bool
    """Whether jobs of an interrupted demo were still open at the start."""

    @property
    def paid_posts(self) -> int:
        """The number of paid POSTs to the simulator during this run."""
        return self.kie_after.paid_posts - self.kie_before.paid_posts


async def open_account(billing: Billing) -> Account:
    """Return the demo's account with enough credits."""
    try:
        account = await billing.create_account(ACCOUNT)
    except AlreadyExists:
        account = await billing.account(ACCOUNT)
    if account.available < GRANT:
        account = await billing.grant(ACCOUNT, GRANT - account.available, "credits for the demo")
    return account


async def run_jobs(processes: DemoProcesses, before: Account) -> DemoResult:
    """Run every job to its end. Raises `WaitTimedOut` and `DependencyDown`."""
    producer, billing = processes.context.producer, processes.context.producer.billing
    quotes = [await producer.quote(demo_job.request) for demo_job in DEMO_JOBS]
    expected_costs = ExpectedCosts(tuple(quote.credits for quote in quotes))
    kie_before = await read_record(processes.simulator_url)
    jobs = await enqueue_jobs(processes)
    ended = await wait_with_progress(producer, jobs, WAIT_SECONDS)
    details = [await producer.job_details(job.id) for job in ended]
    urls = [url for job in ended for url in job.kie_result_urls]
    names = list(processes.addresses)
    readiness = await asyncio.gather(*(is_ready(processes.addresses[name]) for name in names))
    return DemoResult(
        expected_costs=expected_costs,
        jobs=tuple(ended),
        entries=tuple(one["entries"] for one in details),
        before=before,
        after=await billing.account(ACCOUNT),
        kie_before=kie_before,
        kie_after=await read_record(processes.simulator_url),
        image=await fetch_image(urls[0]) if urls else None,
        ready=dict(zip(names, readiness, strict=True)),
        had_leftovers=before.held > 0,
    )


class EnqueueRefused(DarkroomError):
    """The API refused the demo's jobs."""


async def enqueue_jobs(processes: DemoProcesses) -> list[Job]:
    """POST all jobs as one batch, and return them in order. Raises `EnqueueRefused`."""
    url = f"http://{processes.addresses['api']}/v1/jobs/batch"
    async with (
        _key(processes) as headers,
        aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session,
        session.post(url, json={"jobs": job_bodies()}) as response,
    ):
        if response.status != _ACCEPTED:
            raise EnqueueRefused(
                f"the API answered {response.status}: {(await response.text())[:500]}"
            )
        ids = [job["id"] for job in (await response.json())["jobs"]]
    return [await processes.context.producer.get(job_id) for job_id in ids]


def job_bodies() -> list[dict[str, Any]]:
    """Return the jobs as bodies for the API."""
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
    """Yield the headers for the API. They contain a new key only if other keys exist."""
    key_store = KeyStore(processes.context.database)
    if not await key_store.has_any_key():
        # The first key would end the access without a key for programs on this machine.
        yield {}
        return
    key, text = await key_store.create(Role.SERVICE, ACCOUNT, "for one run of the demo")
    try:
        yield {"Authorization": f"Bearer {text}"}
    finally:
        await key_store.revoke(key.prefix)
