"""Plays the demo's jobs and collects what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from producer.billing import Account, Billing
from producer.cli.demo.demo_jobs import ACCOUNT, DEMO_JOBS, ExpectedCosts
from producer.cli.demo.demo_processes import DemoProcesses
from producer.cli.demo.job_creation import enqueue_jobs
from producer.cli.demo.simulator_record import (
    FetchedImage,
    KieRecord,
    fetch_image,
    is_ready,
    read_record,
)
from producer.cli.display.job_progress import wait_with_progress
from shared.domain.job import Job
from shared.errors import AlreadyExists

WAIT_SECONDS = 60.0
GRANT = Decimal(100)
"""Topped up to this before each run."""

Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Everything that the verdict and the last page need."""

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
    """Whether worker and API said that they are ready."""
    had_leftovers: bool
    """Whether jobs of an interrupted demo were still open at the start."""

    @property
    def paid_posts(self) -> int:
        """How many tasks the simulator was paid for during this run."""
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
    """Run every scene to its end. Raises `WaitTimedOut` and `DependencyDown`."""
    producer, billing = processes.context.producer, processes.context.producer.billing
    quotes = [await producer.quote(demo_job.request) for demo_job in DEMO_JOBS]
    expected_costs = ExpectedCosts(tuple(quote.credits for quote in quotes))
    kie_before = await read_record(processes.simulator_url)
    jobs = await enqueue_jobs(processes)
    ended = await wait_with_progress(producer, jobs, WAIT_SECONDS)
    stories = [await billing.explain(job.id) for job in ended]
    urls = [url for job in ended for url in job.result_urls]
    names = list(processes.addresses)
    answers = await asyncio.gather(*(is_ready(processes.addresses[name]) for name in names))
    return DemoResult(
        expected_costs=expected_costs,
        jobs=tuple(ended),
        entries=tuple(details["entries"] for details in stories),
        before=before,
        after=await billing.account(ACCOUNT),
        kie_before=kie_before,
        kie_after=await read_record(processes.simulator_url),
        image=await fetch_image(urls[0]) if urls else None,
        ready=dict(zip(names, answers, strict=True)),
        had_leftovers=before.held > 0,
    )
