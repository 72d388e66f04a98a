"""Kie's balance compared with our attempts, on a real database and the simulator's account.

No lanes run here: the tests take the steps by hand, so that no cron checks in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import aiohttp
import asyncpg
import pytest
import structlog
from prometheus_client import CollectorRegistry

from producer import Job
from producer.doctor import Finding, examine
from shared.adapters.postgres.database import connect_database
from shared.domain import job_events
from shared.errors import PostgresDown, StaleJob
from tests.fakes.fake_kie import FakeKie
from tests.support.deployment import Deployment, eventually, fast_simulator_config, text_to_image
from tests.support.ports import free_port
from worker.bootstrap import open_worker
from worker.dependencies import Dependencies
from worker.kie.account_pool import KieAccount
from worker.kie.balance_check import BalanceCheck
from worker.limits.throttle import Throttled
from worker.metrics import Metrics
from worker.queue.lanes import build_periodic
from worker.recovery.late_task_checks import LateTaskChecks
from worker.recovery.reconciler import Reconciler
from worker.simulator import running_simulator
from worker.steps.poll import poll_job
from worker.steps.submit import submit_job
from worker.store.job_store import JobStore

TABLE = "provider_balance_checks"

PRICE_OF_4O = """UPDATE pricing SET provider_credits = $1
 WHERE (model, task, quantity) = ('gpt-4o-image', 'text-to-image', 1)"""


class BalanceSetup:
    """A worker's dependencies without lanes, and the checks of Kie's balance."""

    def __init__(self, deployment: Deployment, deps: Dependencies) -> None:
        self.deployment = deployment
        self.registry = CollectorRegistry()
        self.deps = replace(deps, metrics=Metrics(self.registry))
        (account,) = deps.accounts
        self.account: KieAccount = account
        self.balance = BalanceCheck(self.deps, account, gap_seconds=0)

    async def check(self) -> dict[str, Any]:
        """Check, and return the row that was written."""
        before = len(await self.rows())
        found = await self.balance.check()
        rows = await self.rows()
        assert found is not None
        assert len(rows) == before + 1
        assert rows[-1]["verdict"] == found.status
        return rows[-1]

    async def rows(self) -> list[dict[str, Any]]:
        """Return every check, oldest first."""
        return await self.deployment.run_sql(f"SELECT * FROM {TABLE} ORDER BY id")

    async def submit(self, directive: str = "", **fields: Any) -> Job:
        """Enqueue a job and take its submit step."""
        prompt = f"a picture [[sim: {directive}]]" if directive else "a picture"
        job = await self.deployment.enqueue(text_to_image(prompt, **fields))
        await submit_job(self.deps, job.id)
        return await self.deployment.producer.get(job.id)

    async def finish(self, job: Job) -> Job:
        """Poll until the job has ended."""

        async def has_ended() -> bool:
            try:
                await poll_job(self.deps, job.id)
            except Throttled:
                return False
            return (await self.deployment.producer.get(job.id)).finished_at is not None

        await eventually(has_ended, "the job has ended")
        return await self.deployment.producer.get(job.id)

    async def develop(self, directive: str = "", **fields: Any) -> Job:
        """Take a job from enqueue to its end."""
        return await self.finish(await self.submit(directive, **fields))

    def gauge(self, name: str) -> float | None:
        labels = {"account": self.account.name}
        return self.registry.get_sample_value(f"darkroom_provider_balance_{name}", labels)


@asynccontextmanager
async def open_balance_setup(deployment: Deployment, **changes: Any) -> AsyncIterator[BalanceSetup]:
    async with open_worker(deployment.settings.model_copy(update=changes)) as resources:
        yield BalanceSetup(deployment, resources.deps)


@pytest.fixture
async def setup(deployment: Deployment) -> AsyncIterator[BalanceSetup]:
    """An setup that has checked once."""
    async with open_balance_setup(deployment) as setup:
        await setup.check()
        yield setup


async def spend_from_outside(deployment: Deployment, tasks: int, variants: int = 1) -> None:
    """Create tasks with the same key outside of Darkroom."""
    simulator = deployment.simulator
    headers = {"Authorization": f"Bearer {simulator.api_key}", "User-Agent": "somebody/1"}
    async with aiohttp.ClientSession(simulator.base_url, headers=headers) as session:
        for _ in range(tasks):
            body = {"prompt": "not ours", "size": "1:1", "nVariants": variants}
            async with session.post("/api/v1/gpt4o-image/generate", json=body) as response:
                assert (await response.json())["code"] == 200


async def top_up(deployment: Deployment, credits: int) -> None:
    """Add credits, as a purchase does."""
    url = f"{deployment.simulator.base_url}/simulator/credits"
    async with aiohttp.request("POST", url, json={"credits": credits}) as response:
        assert response.status == 200


async def doctor_finding(deployment: Deployment) -> Finding:
    return {one.name: one async for one in examine(deployment.settings)}["kie balance"]


def events_in(logs: list[Any]) -> list[str]:
    return [f"{one['log_level']} {one['event']}" for one in logs if "balance" in one["event"]]


# --- what is stored ----------------------------------------------------------------------------


async def test_the_first_check_has_nothing_before_it(deployment: Deployment) -> None:
    async with open_balance_setup(deployment) as setup:
        row = await setup.check()
    assert (row["verdict"], row["follows"], row["previous_balance"]) == ("first", None, None)
    assert row["balance"] == Decimal(str(deployment.simulator.record.account.balance))
    assert row["asked_at"] <= row["at"]
    assert row["settled"]


async def test_spend_as_expected_is_ok_to_the_credit(setup: BalanceSetup) -> None:
    for quantity in (1, 2, 4):
        await setup.develop(quantity=quantity)
    row = await setup.check()
    assert (row["verdict"], row["drift"], row["settled"]) == ("ok", 0, True)
    assert (row["expected_spend_low"], row["expected_spend_high"]) == (21, 21)
    assert row["previous_balance"] - row["balance"] == 21
    assert (await setup.check())["expected_spend_high"] == 0


async def test_a_price_change_after_the_post_changes_nothing(setup: BalanceSetup) -> None:
    await setup.develop()
    for credits in (30, 100):  # by 5 times at most, each time
        await setup.deployment.run_sql(PRICE_OF_4O, credits)
    row = await setup.check()
    assert (row["verdict"], row["expected_spend_low"], row["expected_spend_high"]) == ("ok", 6, 6)


async def test_a_wrong_provider_price_shows_as_drift(setup: BalanceSetup) -> None:
    for credits in (30, 100):  # by 5 times at most, each time
        await setup.deployment.run_sql(PRICE_OF_4O, credits)
    await setup.develop()
    row = await setup.check()
    assert (row["verdict"], row["drift"]) == ("drift", -94)


async def test_a_failed_task_is_presumed_refunded(setup: BalanceSetup) -> None:
    assert (await setup.develop("outcome=generate_failed")).state == "failed"
    row = await setup.check()
    assert (row["verdict"], row["drift"]) == ("ok", 0)
    assert row["previous_balance"] == row["balance"]


async def test_running_tasks_are_within_the_range_and_exact_at_the_end(setup: BalanceSetup) -> None:
    jobs = [await setup.submit("duration=1.5") for _ in range(3)]
    assert [job.state for job in jobs] == ["generating"] * 3
    under_way = await setup.check()
    assert (under_way["verdict"], under_way["settled"]) == ("ok", False)
    assert (under_way["expected_spend_low"], under_way["expected_spend_high"]) == (0, 18)
    for job in jobs:
        await setup.finish(job)
    row = await setup.check()
    # Measured from the check before them, the last at which nothing was on its way.
    assert row["measured_from"] == (await setup.rows())[0]["id"]
    assert (row["verdict"], row["expected_spend_low"], row["expected_spend_high"]) == ("ok", 18, 18)


async def test_what_comes_late_is_explained(setup: BalanceSetup) -> None:
    sql = setup.deployment.run_sql
    late_tasks = LateTaskChecks(setup.deps)
    rows = []
    for directive in ("duration=0.1", "duration=0.1, outcome=generate_failed", "lost_reply=1"):
        job = await setup.submit(directive)
        ended = (
            "UPDATE jobs SET state = 'failed', reason = $2, finished_at = now() WHERE id = $1",
            *(job.id, "deadline_exceeded" if job.provider_task_id else "submission_lost"),
        )
        await sql(*ended)
        if job.provider_task_id is None:
            await sql("UPDATE job_attempts SET outcome = 'lost' WHERE job_id = $1", job.id)
            *_, task_id = setup.deployment.simulator.record.tasks
            with pytest.raises(StaleJob):
                await setup.deps.store.record_submitted(job, job_events.Submitted(task_id, 60))

        async def has_outcome() -> bool:
            await sql("UPDATE late_tasks SET next_check_at = now() WHERE outcome IS NULL")
            await late_tasks.check_due()
            return not await sql("SELECT FROM late_tasks WHERE outcome IS NULL")

        await eventually(has_outcome, "the late task has its outcome")
        rows.append(await setup.check())
    outcomes = await sql("SELECT outcome FROM late_tasks ORDER BY noted_at")
    assert [one["outcome"] for one in outcomes] == ["delivered", "failed", "delivered"]
    assert [(row["verdict"], row["drift"]) for row in rows] == [("ok", 0)] * 3
    assert (rows[0]["expected_spend_low"], rows[0]["expected_spend_high"]) == (6, 6)


async def test_lost_replies_are_within_the_range(setup: BalanceSetup) -> None:
    for _ in range(3):
        assert (await setup.submit("lost_reply=1")).state == "unknown"
    row = await setup.check()
    assert (row["verdict"], row["drift"]) == ("ok", 0)
    assert (row["expected_spend_low"], row["expected_spend_high"]) == (0, 18)
    assert row["previous_balance"] - row["balance"] == 18


async def test_a_range_too_wide_to_tell_is_unknown(deployment: Deployment) -> None:
    async with open_balance_setup(deployment, kie_drift_alert_credits=5) as setup:
        await setup.check()
        await setup.submit("lost_reply=1")
        assert (await setup.check())["verdict"] == "unknown"


# --- drift ------------------------------------------------------------------------------------


async def test_spending_from_outside_is_reported_once_and_never_corrected(
    setup: BalanceSetup,
) -> None:
    await setup.develop()
    money = await setup.deployment.producer.balance("acme")
    await spend_from_outside(setup.deployment, 8, variants=2)
    with structlog.testing.capture_logs() as logs:
        row = await setup.check()
        after = await setup.check()
    assert (row["verdict"], row["drift"], row["unexplained"]) == ("drift", 56, 56)
    assert events_in(logs) == ["critical provider_balance_drift"]
    assert (after["verdict"], after["drift"], after["unexplained"]) == ("ok", 0, 0)
    assert await setup.deployment.producer.balance("acme") == money
    await setup.deployment.check_invariants_hold()


async def test_the_gauges_show_balance_and_drift(setup: BalanceSetup) -> None:
    await spend_from_outside(setup.deployment, 2)
    row = await setup.check()
    assert row["verdict"] == "ok"
    assert setup.gauge("drift_credits") == 12
    assert setup.gauge("credits") == float(row["balance"])


async def test_a_slow_leak_adds_up_to_an_alert(setup: BalanceSetup) -> None:
    verdicts = []
    for _ in range(3):
        await spend_from_outside(setup.deployment, 3)
        verdicts.append((await setup.check())["verdict"])
    assert verdicts == ["ok", "ok", "drift"]


async def test_drift_hidden_by_running_tasks_is_found_when_they_have_ended(
    setup: BalanceSetup,
) -> None:
    jobs = [await setup.submit("duration=1.5") for _ in range(10)]
    hidden = await setup.check()
    assert hidden["verdict"] == "unknown"
    await spend_from_outside(setup.deployment, 9)
    for job in jobs:
        await setup.finish(job)
    row = await setup.check()
    assert (row["verdict"], row["drift"]) == ("drift", 54)


async def test_a_top_up_is_no_drift(setup: BalanceSetup) -> None:
    await setup.develop()
    await top_up(setup.deployment, 5000)
    with structlog.testing.capture_logs() as logs:
        row = await setup.check()
    assert (row["verdict"], row["drift"], row["unexplained"]) == ("topped_up", -5000, 0)
    assert events_in(logs) == ["info provider_balance_topped_up"]
    assert (await setup.check())["verdict"] == "ok"


# --- low balance ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("jobs", "said"), [(1, []), (2, ["warning provider_balance_low"])], ids=["lasts", "does not"]
)
async def test_a_balance_that_does_not_last_for_the_open_jobs_is_reported(
    deployment: Deployment, jobs: int, said: list[str]
) -> None:
    for _ in range(jobs):
        await deployment.enqueue()
    async with (
        running_simulator(fast_simulator_config(starting_credits=Decimal(11))) as poor,
        open_balance_setup(deployment, kie_base_url=poor.base_url) as setup,
    ):
        with structlog.testing.capture_logs() as logs:
            await setup.check()
    assert events_in(logs) == said


# --- outages ---------------------------------------------------------------------------------


async def test_when_kie_is_down_nothing_is_written_and_the_next_check_covers_the_gap(
    setup: BalanceSetup,
) -> None:
    await setup.develop()
    port = free_port()
    async with open_balance_setup(
        setup.deployment, kie_base_url=f"http://127.0.0.1:{port}"
    ) as cut_off:
        assert await cut_off.balance.check() is None
    setup.deployment.simulator.set_faults(account_code=401)
    assert await setup.balance.check() is None
    assert len(await setup.rows()) == 1
    setup.deployment.simulator.set_faults(account_code=None)
    row = await setup.check()
    assert (row["verdict"], row["expected_spend_high"]) == ("ok", 6)


async def test_when_postgres_is_down_the_check_is_postponed(setup: BalanceSetup) -> None:
    class Away:
        async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
            raise PostgresDown(f"{query} {args}")

        async def fetch_row(self, query: str, *args: Any) -> asyncpg.Record | None:
            raise PostgresDown(f"{query} {args}")

    with structlog.testing.capture_logs() as logs:
        await periodic_check(replace(setup.deps, store=JobStore(Away())))()
    (line,) = logs
    assert (line["event"], line["subject"]) == ("dependency_down", "postgres")
    assert line["doing"] == "check_balance"


# --- several workers --------------------------------------------------------------------------


def periodic_check(deps: Dependencies) -> Callable[[], Any]:
    """Return the check of the balances as a worker runs it, when it is its turn."""
    works = build_periodic(deps, Reconciler(deps))
    (one,) = (one for one in works if one.work.name == "check_balance")
    assert one.work.interval_seconds == 60
    return one.work.run


class TwoCallersKie(FakeKie):
    """Answers two callers only when both are asking."""

    def __init__(self, meeting: asyncio.Barrier) -> None:
        super().__init__()
        self._meeting = meeting

    async def credit(self) -> Decimal | None:
        async with asyncio.timeout(10):
            await self._meeting.wait()
        return Decimal(100)


@pytest.mark.parametrize("checked_before", [0, 1])
async def test_two_workers_at_the_same_time_write_one_row(
    deployment: Deployment, checked_before: int
) -> None:
    async with open_balance_setup(deployment) as setup:
        for _ in range(checked_before):
            await setup.check()
        account = replace(setup.account, kie=TwoCallersKie(asyncio.Barrier(2)))
        workers = [BalanceCheck(setup.deps, account, gap_seconds=0) for _ in range(2)]
        with structlog.testing.capture_logs() as logs:
            found = await asyncio.gather(*(worker.check() for worker in workers))
        assert sorted(one is None for one in found) == [False, True]
        assert len(await setup.rows()) == checked_before + 1
        # The second worker reports nothing either.
        assert events_in(logs) == ["critical provider_balance_drift"] * checked_before


async def test_two_workers_one_after_the_other_write_one_row_a_minute(
    deployment: Deployment,
) -> None:
    async with open_balance_setup(deployment) as one, open_balance_setup(deployment) as other:
        for setup in (one, other, one):
            await periodic_check(setup.deps)()
        assert len(await one.rows()) == 1
        await deployment.run_sql(
            f"UPDATE {TABLE} SET at = at - interval '1 minute',"
            " asked_at = asked_at - interval '1 minute'"
        )
        for setup in (other, one):
            await periodic_check(setup.deps)()
        assert [row["verdict"] for row in await one.rows()] == ["first", "ok"]


# --- rights and reports ----------------------------------------------------------------------


async def test_the_service_checks_and_may_not_rewrite(
    setup: BalanceSetup, database_url: str
) -> None:
    url = f"{database_url}{'&' if '?' in database_url else '?'}role=darkroom_service"
    async with connect_database(url) as database:
        deps = replace(setup.deps, store=JobStore(database))
        balance = BalanceCheck(deps, setup.account, gap_seconds=0)
        assert await balance.check() is not None
        for statement in (f"UPDATE {TABLE} SET drift = 0", f"DELETE FROM {TABLE}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await database.pool.execute(statement)


@pytest.mark.parametrize("role", ["darkroom_admin", "darkroom_readonly"])
async def test_people_read_the_checks_and_write_none(
    setup: BalanceSetup, database_url: str, role: str
) -> None:
    assert await setup.rows()
    url = f"{database_url}{'&' if '?' in database_url else '?'}role={role}"
    async with connect_database(url) as database:
        assert await database.fetch("last_balance_checks", ["default"])
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.pool.execute(f"INSERT INTO {TABLE} DEFAULT VALUES")


async def test_the_doctor_reports_result_and_age_and_remembers_drift_for_a_day(
    deployment: Deployment,
) -> None:
    assert "never checked" in (await doctor_finding(deployment)).detail
    async with open_balance_setup(deployment) as setup:
        await setup.check()
        word = await doctor_finding(deployment)
        assert word.ok
        assert "s ago: first" in word.detail
        await spend_from_outside(deployment, 9)
        await setup.check()
        await setup.check()
        word = await doctor_finding(deployment)
        assert not word.ok
        assert word.fix
        assert "s ago: ok" in word.detail
        assert "drift found 1 time in the last day" in word.detail
        await deployment.run_sql(
            f"UPDATE {TABLE} SET at = at - interval '25 hours',"
            " asked_at = asked_at - interval '25 hours'"
        )
        assert (await doctor_finding(deployment)).ok
