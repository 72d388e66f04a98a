"""Runs a failover campaign: orders continue while the primaries die and others are promoted."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson

from shared.adapters.redis.lost_write_log import LostWriteEvidence, LostWriteLog
from shared.adapters.servers import Servers
from shared.domain.lifecycle import Reason
from tests.campaign.campaign_deployment import CampaignDeployment, open_deployment_over
from tests.campaign.campaign_evidence import (
    Evidence,
    read_record,
    read_refused,
    read_summary,
    read_tables,
)
from tests.campaign.campaign_invariants import ZeroCount, count_zeros
from tests.campaign.campaign_options import CampaignOptions
from tests.campaign.campaign_processes import (
    CampaignProcesses,
    running_api,
    running_producer,
    running_workers,
)
from tests.failover.failover_servers import ServerPrograms
from tests.failover.postgres_pair import PostgresPair, running_postgres_pair
from tests.failover.valkey_pair import ValkeyPair, running_valkey_pair
from tests.support.eventually import until, within

GOAL_SECONDS = 15.0
_NOTICED_SECONDS = 1.0
"""The time from the death of a Postgres primary to the promotion, typical of failover managers."""
_STALLED_SECONDS = 1.0
"""The time for which an asynchronous standby has received nothing when its primary dies."""
LOSS_FINDING = "no writes were lost"
_WITHOUT_CAUSE = "jobs given up although Kie's reply was not lost on purpose"
BROKEN_BY_LOSS = frozenset(
    {
        "orders lost",
        "prompts paid more than once",
        "tasks without a job",
        "successes without exactly one task",
        "successes with another task's id or images",
        "cancelled jobs that Kie was paid for",
        "successes whose task did not succeed",
        "failures reported as Kie's that Kie did not report",
        "failures for any other reason",
        "accounts whose balance is not the grant less their successes",
        "credits that Kie kept and no job accounts for",
        "paid tasks given up though a worker had the reply",
        _WITHOUT_CAUSE,
        "ends with two webhook messages",
        "ends of which no webhook came",
        "webhooks with a wrong end or without a valid signature",
    }
)
"""The counts that cannot be zero if the database loses writes."""
_LOOK_SECONDS = 0.5
_READ_SECONDS = 120.0
_DOCTOR_SECONDS = 60.0
_AROUND_SECONDS = 300.0
"""The time for everything but the orders and their ends: the servers, the processes, the
checks."""
_OPEN_JOBS = "SELECT count(*) FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'cancelled')"
_OPEN = f"SELECT ({_OPEN_JOBS}) + (SELECT count(*) FROM webhook_messages WHERE state = 'pending')"
_FEWEST_OPEN = 5
"""A primary is killed when that many jobs are open, so that their recovery can be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverPlan:
    """One failover campaign."""

    jobs: int = 400
    times: int = 3
    """How many times each of the two primaries dies."""
    workers: int = 3
    seed: int = 1
    callbacks: bool = True
    is_synchronous: bool = True
    seconds_between: float = 20.0
    longest_wait_seconds: float = 180.0

    @property
    def most_seconds(self) -> float:
        """Return the limit of the whole campaign."""
        ordering_seconds = 2 * self.times * (self.seconds_between + GOAL_SECONDS)
        return ordering_seconds + self.longest_wait_seconds + _AROUND_SECONDS

    @property
    def options(self) -> CampaignOptions:
        """Return the same options for the checks of campaigns."""
        return CampaignOptions(
            jobs=self.jobs,
            kills=1,
            seconds_per_kill=2 * self.times * self.seconds_between,
            workers=self.workers,
            seed=self.seed,
            task_seconds=3.0,
            unknown_limit_seconds=20.0,
            callbacks=self.callbacks,
            fsync=False,
        )


@dataclass(frozen=True, slots=True)
class Failover:
    """One death and promotion. Times are epochs."""

    server: str
    died_epoch: float
    promoted_epoch: float


@dataclass(frozen=True, slots=True)
class FailoverResult:
    """The content of a report."""

    plan: FailoverPlan
    evidence: Evidence
    zeros: Sequence[ZeroCount]
    failovers: Sequence[Failover]
    doctor: Sequence[dict[str, Any]]
    """The findings of `darkroom doctor` at the end."""
    doctor_code: int
    losses: LostWriteEvidence
    """The lost writes that workers detected."""
    promotions: int
    """How many times the Sentinels promoted a Valkey. More than the deaths means a false one."""
    took_seconds: float

    def is_clean(self) -> bool:
        """Return whether jobs continued in time, every count is zero, and the doctor agrees.

        An asynchronous standby may have lost writes; then the doctor must have found it.
        """
        in_time = all(seconds_until_moved(self, one)[0] <= GOAL_SECONDS for one in self.failovers)
        broken = {zero.what for zero in self.zeros if not zero.is_kept}
        if self.plan.is_synchronous:
            return in_time and not broken and self.doctor_code == 0
        has_found = any(one["name"] == LOSS_FINDING and not one["ok"] for one in self.doctor)
        return in_time and broken <= BROKEN_BY_LOSS and has_found == bool(broken)

    def orphans(self) -> set[str]:
        """Return the tasks of Kie's record that no job has."""
        owned = {job.task_id for job in self.evidence.tables.jobs}
        return {task.id for task in self.evidence.record.tasks} - owned


def seconds_until_moved(outcome: FailoverResult, failover: Failover) -> tuple[float, float, int]:
    """Return the seconds until the first and the last open job moved, and the number of open jobs.

    A job moves by an event or a poll. Those that were open at the promotion are counted, up to
    their next move.
    """
    moves = []
    tasks = {job.id: job.task_id for job in outcome.evidence.tables.jobs}
    polls = outcome.evidence.record.polls
    for job_id, events in outcome.evidence.tables.events.items():
        moments = sorted([at for at, _ in events] + list(polls.get(tasks[job_id] or "", ())))
        if not moments or moments[0] > failover.promoted_epoch:
            continue
        after = [at for at in moments if at > failover.promoted_epoch]
        if after:
            moves.append(after[0] - failover.promoted_epoch)
    moves.sort()
    return (moves[0], moves[-1], len(moves)) if moves else (float("inf"), float("inf"), 0)


async def run_failover(plan: FailoverPlan) -> FailoverResult:
    """Run a campaign in its own folder, which is kept if the outcome is not clean."""
    folder = Path(tempfile.mkdtemp(prefix="failover-"))
    folder.chmod(0o755)
    keep = True
    try:
        outcome = await within(plan.most_seconds, "the campaign has ended", _over(folder, plan))
        keep = not outcome.is_clean()
        return outcome
    finally:
        if keep:
            sys.stderr.write(f"the logs of this campaign are in {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)


async def _over(folder: Path, plan: FailoverPlan) -> FailoverResult:
    programs = ServerPrograms(folder / "servers")
    async with (
        running_postgres_pair(programs, is_synchronous=plan.is_synchronous) as postgres,
        running_valkey_pair(programs) as valkey,
    ):
        return await _conduct(folder, plan, postgres, valkey)


async def _conduct(
    folder: Path, plan: FailoverPlan, postgres: PostgresPair, valkey: ValkeyPair
) -> FailoverResult:
    began = time.monotonic()
    servers = Servers(postgres.url, valkey.url, None, has_given_database=True)
    options = plan.options
    async with open_deployment_over(folder, options, servers) as deployment:
        async with running_workers(deployment, options) as workers, running_api(deployment) as api:
            started_epoch = time.time()
            async with running_producer(deployment, options, started_epoch) as producer:
                processes = CampaignProcesses(workers, api, producer)
                failovers = await _fail_over(deployment, plan, postgres, valkey, started_epoch)
                await _until_all_ended(deployment, processes, plan.longest_wait_seconds)
                code, findings = await _ask_doctor(deployment)
        evidence = Evidence(
            record=await within(_READ_SECONDS, "Kie's record is read", read_record(deployment)),
            tables=await within(_READ_SECONDS, "the tables are read", read_tables(deployment)),
            refused=read_refused(deployment),
            webhooks=tuple(deployment.webhook_recorder.webhooks),
            loud_lines=processes.loud_lines(),
        )
        lost_writes = LostWriteLog(deployment.redis)
        losses = await within(_READ_SECONDS, "the lost writes are read", lost_writes.read())
        promotions = await valkey.count_promotions()
    return FailoverResult(
        plan=plan,
        evidence=evidence,
        zeros=[*count_zeros(evidence, options), _given_up_without_cause(evidence)],
        failovers=failovers,
        doctor=findings,
        doctor_code=code,
        losses=losses,
        promotions=promotions,
        took_seconds=time.monotonic() - began,
    )


def _given_up_without_cause(evidence: Evidence) -> ZeroCount:
    """Without callbacks a lost reply cannot be recovered, but no worker dies in this campaign."""
    tasks = evidence.record.by_prompt()
    return ZeroCount(
        _WITHOUT_CAUSE,
        [
            job.key
            for job in evidence.tables.jobs
            if job.reason == Reason.SUBMISSION_LOST
            and not any(task.reply_lost for task in tasks.get(job.prompt, []))
        ],
    )


async def _fail_over(
    deployment: CampaignDeployment,
    plan: FailoverPlan,
    postgres: PostgresPair,
    valkey: ValkeyPair,
    started_epoch: float,
) -> list[Failover]:
    async def are_open() -> bool:
        return (await _count(deployment, _OPEN_JOBS) or 0) >= _FEWEST_OPEN

    done = []
    for number in range(2 * plan.times):
        due_epoch = started_epoch + (number + 0.4) * plan.seconds_between
        await asyncio.sleep(max(due_epoch - time.time(), 0))
        await until(are_open, f"{_FEWEST_OPEN} jobs are open when a primary is to die")
        if number % 2 == 0:
            done.append(await _fail_over_postgres(plan, postgres))
            await postgres.add_standby()
        else:
            died_epoch = await valkey.kill_primary()
            done.append(Failover("Valkey", died_epoch, await valkey.until_promoted()))
            await valkey.add_replica()
    return done


async def _fail_over_postgres(plan: FailoverPlan, postgres: PostgresPair) -> Failover:
    if not plan.is_synchronous:
        await postgres.stall_standby()
        await asyncio.sleep(_STALLED_SECONDS)
    died_epoch = await postgres.kill_primary()
    await asyncio.sleep(_NOTICED_SECONDS)
    return Failover("Postgres", died_epoch, await postgres.promote())


async def _until_all_ended(
    deployment: CampaignDeployment, processes: CampaignProcesses, longest_seconds: float
) -> None:
    """Wait until every job and every task has ended, or until the limit."""
    ends_at = time.monotonic() + longest_seconds
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        while time.monotonic() < ends_at:
            if (
                processes.producer.has_finished
                and await _count(deployment, _OPEN) == 0
                and (await read_summary(session, deployment))["tasks"]["generating"] == 0
            ):
                return
            await asyncio.sleep(_LOOK_SECONDS)


async def _count(deployment: CampaignDeployment, statement: str) -> int | None:
    """Return the count, or None while Postgres is down."""
    try:
        connection = await asyncpg.connect(deployment.servers.database_url, timeout=5)
    except (asyncpg.PostgresError, asyncpg.InternalClientError, OSError, TimeoutError):
        return None
    try:
        return int(await connection.fetchval(statement, timeout=10))
    except (asyncpg.PostgresError, asyncpg.InternalClientError, OSError, TimeoutError):
        return None
    finally:
        connection.terminate()


async def _ask_doctor(deployment: CampaignDeployment) -> tuple[int, list[dict[str, Any]]]:
    """Run `darkroom doctor --json` while workers run. Return its exit code and findings."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "producer",
        "doctor",
        "--json",
        env=deployment.environ,
        cwd=deployment.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await within(_DOCTOR_SECONDS, "the doctor has answered", process.communicate())
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    lines = [orjson.loads(line) for line in out.splitlines() if line.startswith(b"{")]
    return process.returncode, lines
