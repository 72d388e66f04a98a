"""Reads the evidence at the end: the record of the simulated Kie, and Darkroom's tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import orjson

from producer.doctor import Finding, check_invariants
from shared.adapters.postgres.database import Database, connect_database
from tests.campaign.campaign_deployment import CampaignDeployment
from tests.campaign.fair_shares import Choices, read_choices
from tests.campaign.webhook_recorder import Webhook
from tests.support.restarted_process import Death

_ALL = 5_000_000
_FETCH_SECONDS = 120.0
_PAUSE_COMMIT_SECONDS = 2.0
"""How long after its own time a pause may be committed. All times are Postgres's."""
_CLAIMED_WHILE_PAUSED = """
SELECT job_id FROM job_attempts
  JOIN jobs ON jobs.id = job_id
  JOIN pauses ON sent_at > paused_at + make_interval(secs => $1)
             AND sent_at < coalesce(resumed_at, 'infinity')
 WHERE scope = 'everything'
    OR (scope, value) IN (('model', model), ('account', account_id),
                          ('kie_account', provider_account))
"""


@dataclass(frozen=True, slots=True)
class Task:
    """A paid task of the simulated Kie."""

    id: str
    prompt: str
    outcome: str
    reply_lost: bool
    worst_window: int
    images: Sequence[str]
    """The paths of its images, which do not have its id in them."""


@dataclass(frozen=True, slots=True)
class Record:
    """The record of the simulated Kie."""

    summary: Mapping[str, Any]
    tasks: Sequence[Task]
    polls: Mapping[str, Sequence[float]]
    """Arrivals (epoch) of the polls of each task, in order."""

    def by_prompt(self) -> Mapping[str, list[Task]]:
        """Return the tasks of each prompt."""
        found: defaultdict[str, list[Task]] = defaultdict(list)
        for task in self.tasks:
            found[task.prompt].append(task)
        return found


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job in Postgres at the end."""

    id: UUID
    key: str
    account: str
    state: str
    reason: str
    prompt: str
    model: str
    task: str
    quantity: int
    variant: str
    task_id: str | None
    urls: Sequence[str]
    late_urls: Sequence[str]
    charged: Decimal | None
    created_epoch: float
    finished_epoch: float | None


@dataclass(frozen=True, slots=True)
class Price:
    """A version of a price, and when (epoch) it was in force."""

    model: str
    task: str
    quantity: int
    variant: str
    credits: Decimal
    from_epoch: float
    to_epoch: float


@dataclass(frozen=True, slots=True)
class Capture:
    """A charge, with the id of the price version that it cites."""

    credits: Decimal
    price_id: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A paid POST in Postgres. `worker` is host:pid."""

    job_id: UUID
    worker: str
    sent_epoch: float
    answered_epoch: float | None


@dataclass(frozen=True, slots=True)
class Tables:
    """The contents of Darkroom's tables."""

    jobs: Sequence[JobRow]
    attempts: Sequence[Attempt]
    events: Mapping[UUID, Sequence[tuple[float, str]]]
    """Time (epoch) and name of each job's events, in order."""
    captures: Mapping[UUID, Sequence[Capture]]
    prices: Mapping[int, Price]
    overheld: Sequence[UUID]
    """The jobs whose hold was more than their account had available."""
    endpoint_secrets: Mapping[str, str]
    """The secret of each account's webhook endpoint: the campaign has one of each."""
    balances: Mapping[str, tuple[Decimal, Decimal]]
    """Balance and held credits of each account."""
    verdicts: Mapping[str, int]
    """The number of callbacks by verdict."""
    findings: Sequence[Finding]
    claimed_while_paused: Sequence[UUID]
    """The jobs of attempts that began while a pause applied to them."""
    choices: Choices = field(default_factory=Choices)
    """Which job was chosen when."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The record of Kie and Darkroom's tables."""

    record: Record
    tables: Tables
    refused: frozenset[str] = frozenset()
    """Keys of the orders that were refused at least once because credits were missing."""
    webhooks: Sequence[Webhook] = ()
    """Every webhook that arrived."""
    loud_lines: Counter[str] = field(default_factory=Counter)
    deaths: Sequence[Death] = ()
    """Every process that died by SIGKILL."""


async def read_summary(
    session: aiohttp.ClientSession, deployment: CampaignDeployment
) -> dict[str, Any]:
    """Return the current figures of the simulated Kie's record."""
    return dict(orjson.loads(await _get(session, f"{deployment.kie_url}/simulator/record")))


async def read_record(deployment: CampaignDeployment) -> Record:
    """Fetch the whole record of the simulated Kie."""
    url = f"{deployment.kie_url}/simulator/record"
    timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        summary = await read_summary(session, deployment)
        tasks = [orjson.loads(line) for line in (await _get(session, f"{url}/tasks")).splitlines()]
        requests = orjson.loads(await _get(session, f"{url}/requests?limit={_ALL}"))
    polls: defaultdict[str, list[float]] = defaultdict(list)
    for request in reversed(requests):
        if request["path"].endswith(("/record-info", "/recordInfo")) and request["task_id"]:
            polls[request["task_id"]].append(request["at"])
    named = [
        Task(
            row["task_id"],
            row["prompt"],
            row["outcome"],
            row["reply_lost"],
            row["worst_window"],
            row["image_paths"],
        )
        for row in tasks
    ]
    return Record(summary, named, {task_id: sorted(moments) for task_id, moments in polls.items()})


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url) as answer:
        answer.raise_for_status()
        return await answer.read()


async def read_tables(deployment: CampaignDeployment) -> Tables:
    """Read Darkroom's tables, and check the invariants of the doctor."""
    async with connect_database(deployment.servers.database_url, connections=2) as database:
        rows = database.pool.fetch
        jobs = await rows(
            "SELECT *, extract(epoch FROM created_at)::float8 AS created,"
            " extract(epoch FROM finished_at)::float8 AS finished FROM jobs ORDER BY id"
        )
        attempts = await rows(
            "SELECT job_id, worker, extract(epoch FROM sent_at)::float8 AS sent,"
            " extract(epoch FROM answered_at)::float8 AS answered FROM job_attempts"
        )
        accounts = await rows("SELECT id, balance, held FROM accounts")
        verdicts = await rows(
            "SELECT coalesce(verdict, 'unhandled') AS verdict, count(*) AS n"
            " FROM callback_inbox GROUP BY 1 ORDER BY 1"
        )
        return Tables(
            jobs=[_job(row) for row in jobs],
            attempts=[
                Attempt(UUID(int=row["job_id"].int), row["worker"], row["sent"], row["answered"])
                for row in attempts
            ],
            events=await _events(database),
            captures=await _captures(database),
            prices=await _prices(database),
            overheld=[
                UUID(int=row["job_id"].int)
                for row in await rows(
                    "SELECT job_id FROM ledger_entries"
                    " WHERE kind = 'hold' AND held_after > balance_after"
                )
            ],
            endpoint_secrets={
                row["account_id"]: row["secret"]
                for row in await rows("SELECT account_id, secret FROM webhook_endpoints")
            },
            balances={row["id"]: (row["balance"], row["held"]) for row in accounts},
            verdicts={row["verdict"]: row["n"] for row in verdicts},
            findings=[finding async for finding in check_invariants(database)],
            claimed_while_paused=[
                UUID(int=row["job_id"].int)
                for row in await rows(_CLAIMED_WHILE_PAUSED, _PAUSE_COMMIT_SECONDS)
            ],
            choices=await read_choices(database),
        )


def _job(row: asyncpg.Record) -> JobRow:
    return JobRow(
        id=UUID(int=row["id"].int),
        key=row["idempotency_key"],
        account=row["account_id"],
        state=row["state"],
        reason=row["reason"] or "",
        prompt=row["request"]["prompt"],
        model=row["model"],
        task=row["task"],
        quantity=row["quantity"],
        variant=row["variant"],
        task_id=row["provider_task_id"],
        urls=row["result_urls"],
        late_urls=row["late_result_urls"] or (),
        charged=row["credits_charged"],
        created_epoch=row["created"],
        finished_epoch=row["finished"],
    )


async def _events(database: Database) -> Mapping[UUID, Sequence[tuple[float, str]]]:
    found: defaultdict[UUID, list[tuple[float, str]]] = defaultdict(list)
    for row in await database.pool.fetch(
        "SELECT job_id, extract(epoch FROM at)::float8 AS at, event FROM job_events ORDER BY id"
    ):
        found[UUID(int=row["job_id"].int)].append((row["at"], row["event"]))
    return found


async def _captures(database: Database) -> Mapping[UUID, Sequence[Capture]]:
    found: defaultdict[UUID, list[Capture]] = defaultdict(list)
    for row in await database.pool.fetch(
        "SELECT job_id, credits, price_id FROM ledger_entries WHERE kind = 'capture'"
    ):
        found[UUID(int=row["job_id"].int)].append(Capture(row["credits"], row["price_id"]))
    return found


async def _prices(database: Database) -> Mapping[int, Price]:
    return {
        row["id"]: Price(
            model=row["model"],
            task=row["task"],
            quantity=row["quantity"],
            variant=row["variant"],
            credits=row["credits"],
            from_epoch=row["since"],
            to_epoch=row["until"],
        )
        for row in await database.pool.fetch(
            "SELECT *, extract(epoch FROM lower(valid))::float8 AS since,"
            " coalesce(extract(epoch FROM upper(valid)), 'Infinity')::float8 AS until"
            " FROM pricing_history"
        )
    }


def read_refused(deployment: CampaignDeployment) -> frozenset[str]:
    """Return the keys of the orders that were refused."""
    path = deployment.refused
    return frozenset(path.read_text("ascii").split()) if path.exists() else frozenset()
