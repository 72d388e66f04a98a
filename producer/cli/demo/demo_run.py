"""Plays the demo's jobs and collects what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from producer.billing import Account, Till
from producer.cli.demo.demo_jobs import ACCOUNT, SCENES, Programme
from producer.cli.demo.demo_processes import Stage
from producer.cli.demo.job_creation import place_jobs
from producer.cli.demo.simulator_record import (
    FetchedImage,
    KieRecord,
    fetch_image,
    is_ready,
    read_record,
)
from producer.cli.display.job_progress import wait_visibly
from shared.domain.job import Job
from shared.errors import AlreadyExists

WAIT_SECONDS = 60.0
GRANT = Decimal(100)
"""Topped up to this before each run."""

Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Ending:
    """Everything that the verdict and the last page need."""

    programme: Programme
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


async def open_account(till: Till) -> Account:
    """Return the demo's account with enough credits."""
    try:
        account = await till.create_account(ACCOUNT)
    except AlreadyExists:
        account = await till.account(ACCOUNT)
    if account.available < GRANT:
        account = await till.grant(ACCOUNT, GRANT - account.available, "credits for the demo")
    return account


async def perform(stage: Stage, before: Account) -> Ending:
    """Run every scene to its end. Raises `WaitTimedOut` and `DependencyDown`."""
    producer, till = stage.desk.producer, stage.desk.producer.till
    quotes = [await producer.quote(scene.request) for scene in SCENES]
    programme = Programme(tuple(quote.credits for quote in quotes))
    kie_before = await read_record(stage.simulator_url)
    jobs = await place_jobs(stage)
    ended = await wait_visibly(producer, jobs, WAIT_SECONDS)
    stories = [await till.explain(job.id) for job in ended]
    urls = [url for job in ended for url in job.result_urls]
    names = list(stage.addresses)
    answers = await asyncio.gather(*(is_ready(stage.addresses[name]) for name in names))
    return Ending(
        programme=programme,
        jobs=tuple(ended),
        entries=tuple(story["entries"] for story in stories),
        before=before,
        after=await till.account(ACCOUNT),
        kie_before=kie_before,
        kie_after=await read_record(stage.simulator_url),
        image=await fetch_image(urls[0]) if urls else None,
        ready=dict(zip(names, answers, strict=True)),
        had_leftovers=before.held > 0,
    )
