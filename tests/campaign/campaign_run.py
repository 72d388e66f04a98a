"""Runs a campaign from the first order to the result."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp
import asyncpg

from tests.campaign.campaign_deployment import CampaignDeployment, open_campaign_deployment
from tests.campaign.campaign_evidence import (
    Evidence,
    read_record,
    read_refused,
    read_summary,
    read_tables,
)
from tests.campaign.campaign_invariants import GivenUp, ZeroCount, count_zeros, given_up
from tests.campaign.campaign_options import CampaignOptions
from tests.campaign.campaign_processes import (
    CampaignProcesses,
    running_api,
    running_producer,
    running_workers,
)
from tests.campaign.fault_injector import FaultInjector
from tests.campaign.fault_plan import FaultKind, draw_plan
from tests.campaign.lease_watch import LeaseWatch
from tests.campaign.outage_watch import OutageInterval, OutageWatch
from tests.campaign.poll_pressure import requesting_polls
from tests.campaign.recovery_times import Moved, Stall, longest_stalls, recovered
from tests.support.restarted_process import Death

_LOOK_SECONDS = 0.5
_OPEN_JOBS = "SELECT count(*) FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')"
_OPEN_WEBHOOKS = "SELECT count(*) FROM webhook_messages WHERE state = 'pending'"


@dataclass(frozen=True, slots=True)
class CampaignResult:
    """The content of a report."""

    options: CampaignOptions
    evidence: Evidence
    zeros: list[ZeroCount]
    given_up: GivenUp
    deaths: list[Death]
    done: dict[FaultKind, int]
    not_done: dict[FaultKind, int]
    starts: int
    refused_starts: int
    moved: list[Moved]
    blind_kills: int
    outages: list[OutageInterval]
    stalls: list[Stall]
    started_epoch: float
    took_seconds: float
    loads: tuple[float, float]
    """The machine's load average over a minute, at the start and at the end."""

    @property
    def is_clean(self) -> bool:
        """Return whether every count that must be zero is zero."""
        return all(zero.is_kept for zero in self.zeros)


async def run_campaign(options: CampaignOptions) -> CampaignResult:
    """Run a campaign in its own folder, which is kept if the result is not clean."""
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    keep = True
    try:
        result = await _conduct(folder, options)
        keep = options.keep_logs or not result.is_clean
        return result
    finally:
        if keep:
            sys.stderr.write(f"the logs of this campaign are in {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)


async def _conduct(folder: Path, options: CampaignOptions) -> CampaignResult:
    started, load = time.monotonic(), os.getloadavg()[0]
    random = Random(options.seed)
    async with open_campaign_deployment(folder, options) as deployment:
        watch, outages = LeaseWatch(deployment), OutageWatch(deployment)
        async with running_workers(deployment, options) as workers, running_api(deployment) as api:
            started_epoch = time.time()
            async with (
                running_producer(deployment, options, started_epoch) as producer,
                requesting_polls(deployment, options),
            ):
                processes = CampaignProcesses(workers, api, producer)
                reaper = FaultInjector(deployment, processes, watch, outages, random)
                await reaper.carry_out(draw_plan(options, random))
                await _wait_until_all_ended(deployment, options, processes)
        deaths = processes.deaths()
        evidence = Evidence(
            record=await read_record(deployment),
            tables=await read_tables(deployment),
            refused=read_refused(deployment),
            webhooks=tuple(deployment.webhook_recorder.webhooks),
            loud_lines=processes.loud_lines(),
            deaths=deaths,
        )
    return CampaignResult(
        options=options,
        evidence=evidence,
        zeros=count_zeros(evidence, options),
        given_up=given_up(evidence),
        deaths=deaths,
        done=dict(reaper.done),
        not_done=dict(reaper.not_done),
        starts=sum(process.starts for process in processes.workers),
        refused_starts=sum(process.refused_starts for process in processes.workers),
        moved=recovered(
            evidence,
            deaths,
            watch.orphans,
            [life for process in processes.workers for life in process.lives],
            outages.outages,
        ),
        blind_kills=watch.blind_kills,
        outages=outages.outages,
        stalls=longest_stalls(evidence, 3),
        started_epoch=started_epoch,
        took_seconds=time.monotonic() - started,
        loads=(load, os.getloadavg()[0]),
    )


async def _wait_until_all_ended(
    deployment: CampaignDeployment, options: CampaignOptions, processes: CampaignProcesses
) -> None:
    """Wait until every job and every task has ended, or until the limit."""
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(options.limit_seconds),
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        ):
            while not (
                processes.producer.has_finished
                and await _count(deployment, _OPEN_JOBS) == 0
                and await _count(deployment, _OPEN_WEBHOOKS) == 0
                and (await read_summary(session, deployment))["tasks"]["generating"] == 0
            ):
                await asyncio.sleep(_LOOK_SECONDS)


async def _count(deployment: CampaignDeployment, statement: str) -> int | None:
    """Return the count of the statement, or None while Postgres is down."""
    try:
        connection = await asyncpg.connect(deployment.servers.database_url, timeout=5)
    except (asyncpg.PostgresError, OSError, TimeoutError):
        return None
    try:
        return int(await connection.fetchval(statement))
    finally:
        await connection.close()
