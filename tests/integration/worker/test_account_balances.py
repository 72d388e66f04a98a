"""Kie's balance with several accounts: each has its checks, explained by its own attempts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
import structlog
from pydantic import SecretStr

from producer.doctor import examine
from shared.settings import Settings
from tests.support.deployment import Deployment, fast_simulator_config, text_to_image
from worker.bootstrap import open_worker
from worker.dependencies import Dependencies
from worker.kie.balance_check import BalanceCheck
from worker.kie.expected_spend import BalanceCheckResult
from worker.queue.delivery_run import DeliveryRun
from worker.simulator import Simulator, running_simulator
from worker.steps.submit import submit_job

STUDIO, ARCHIVE = "studio-key-0123456789abcdef", "archive-key-0123456789abcdef"
TABLE = "provider_balance_checks"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A Kie that knows both keys."""
    config = fast_simulator_config(api_key=STUDIO, further_api_keys=(ARCHIVE,))
    async with running_simulator(config) as simulator:
        simulator.set_faults(duration=60.0)
        yield simulator


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The settings with two accounts."""
    keys = SecretStr(f"studio={STUDIO},archive={ARCHIVE}")
    return settings.model_copy(update={"kie_api_key": None, "kie_api_keys": keys})


@dataclass(slots=True)
class BalanceSetup:
    """A worker's dependencies without lanes, and the checks of both balances."""

    deployment: Deployment
    deps: Dependencies

    async def submit(self, name: str) -> None:
        """Submit a job with this account."""
        job = await self.deployment.enqueue(text_to_image("a picture"))
        names = [account.name for account in self.deps.accounts]
        await submit_job(self.deps, job.id, DeliveryRun(gate=names.index(name)))

    async def check(self) -> dict[str, BalanceCheckResult | None]:
        """Check every account."""
        return {
            account.name: await BalanceCheck(self.deps, account, gap_seconds=0).check()
            for account in self.deps.accounts
        }

    def spend_from_outside(self, number: int, credits: int) -> None:
        """Spend credits of this account outside of Darkroom."""
        assert self.deployment.simulator.record.accounts[number - 1].charge(Decimal(credits))


@pytest.fixture
async def setup(deployment: Deployment) -> AsyncIterator[BalanceSetup]:
    """A worker with two accounts, each checked once."""
    async with open_worker(deployment.settings) as resources:
        setup = BalanceSetup(deployment, resources.deps)
        first = await setup.check()
        assert [found and found.status for found in first.values()] == ["first", "first"]
        yield setup


async def rows_of(setup: BalanceSetup, name: str) -> list[dict[str, Any]]:
    return await setup.deployment.run_sql(
        f"SELECT * FROM {TABLE} WHERE provider_account = $1 ORDER BY id", name
    )


async def test_each_accounts_balance_is_explained_by_its_own_attempts(setup: BalanceSetup) -> None:
    for name in ("studio", "studio", "archive"):
        await setup.submit(name)
    found = await setup.check()
    assert all(one and (one.status, one.drift) == ("ok", 0) for one in found.values()), found
    highest = {
        name: (await rows_of(setup, name))[-1]["expected_spend_high"]
        for name in ("studio", "archive")
    }
    assert highest == {"studio": 12, "archive": 6}


async def test_drift_of_one_account_is_reported_for_that_one(setup: BalanceSetup) -> None:
    setup.spend_from_outside(2, 60)
    with structlog.testing.capture_logs() as logs:
        found = await setup.check()
    assert {name: one and one.status for name, one in found.items()} == {
        "studio": "ok",
        "archive": "drift",
    }
    (drift,) = [log for log in logs if log["event"] == "provider_balance_drift"]
    assert (drift["account"], drift["drift"]) == ("archive", "60.0")


async def test_each_account_has_its_own_chain(setup: BalanceSetup) -> None:
    await setup.check()
    await setup.check()
    for name in ("studio", "archive"):
        rows = await rows_of(setup, name)
        assert [row["follows"] for row in rows] == [None, rows[0]["id"], rows[1]["id"]]


async def test_two_workers_at_once_write_one_row_of_each_account(
    setup: BalanceSetup, deployment: Deployment
) -> None:
    async with open_worker(deployment.settings) as resources:
        other = BalanceSetup(deployment, resources.deps)
        await asyncio.gather(setup.check(), other.check())
    numbers = {len(await rows_of(setup, name)) for name in ("studio", "archive")}
    assert numbers <= {2, 3}, "a row stands for each look that began after the one before it"
    follows = [row["follows"] for row in await rows_of(setup, "studio")]
    assert len(follows) == len(set(follows))


async def test_an_account_that_refuses_is_not_checked_and_the_other_is(setup: BalanceSetup) -> None:
    setup.deployment.simulator.set_account_faults(1, account_code=401)
    with structlog.testing.capture_logs() as logs:
        found = await setup.check()
    assert found["studio"] is None
    assert found["archive"] is not None
    unread = [log["account"] for log in logs if log["event"] == "provider_balance_unread"]
    assert unread == ["studio"]


async def test_a_low_balance_is_reported_by_the_accounts_share_of_what_waits(
    setup: BalanceSetup,
) -> None:
    for account in setup.deployment.simulator.record.accounts:
        account.balance = Decimal(10)
    for _ in range(4):
        await setup.deployment.enqueue()
    with structlog.testing.capture_logs() as logs:
        await setup.check()
    low = {
        log["account"]: log["open_jobs_need"]
        for log in logs
        if log["event"] == "provider_balance_low"
    }
    assert low == {"studio": "12", "archive": "12"}


async def test_a_worker_of_before_the_accounts_continues_as_the_default_one(
    setup: BalanceSetup,
) -> None:
    # Its statements, as they were.
    statement = (
        f"INSERT INTO {TABLE} (follows, asked_at, at, balance, drift, unexplained, settled,"
        " verdict, measured_from, previous_balance, expected_spend_low, expected_spend_high)"
        " VALUES ($1, now(), now(), 5, 0, 0, true, $2, $1, $3, $3, $3)"
        " ON CONFLICT (follows) DO NOTHING RETURNING id, provider_account"
    )
    (first,) = await setup.deployment.run_sql(statement, None, "first", None)
    assert first["provider_account"] == "default"
    assert len(await setup.deployment.run_sql(statement, first["id"], "ok", 5)) == 1
    assert await setup.deployment.run_sql(statement, first["id"], "ok", 5) == []


async def test_the_database_takes_no_name_that_could_be_a_key(setup: BalanceSetup) -> None:
    for key in (STUDIO, "0123456789abcdef0123456789abcdef", "Sk-1", ""):
        with pytest.raises(asyncpg.CheckViolationError, match="must_be_a_short_name"):
            await setup.deployment.run_sql(
                f"INSERT INTO {TABLE} (asked_at, at, balance, drift, unexplained, settled, verdict,"
                " provider_account) VALUES (now(), now(), 5, 0, 0, true, 'first', $1)",
                key,
            )


async def test_the_doctor_has_a_line_for_each_balance_and_names_an_account_without_a_key(
    setup: BalanceSetup, deployment: Deployment
) -> None:
    await setup.submit("archive")
    findings = {one.name: one async for one in examine(deployment.settings)}
    assert "kie accounts" not in findings
    for name in ("studio", "archive"):
        assert "s ago: first" in findings[f"kie balance of {name}"].detail
    assert "keys are set of studio, archive" in findings["kie"].detail
    less = deployment.settings.model_copy(update={"kie_api_keys": SecretStr(f"studio={STUDIO}")})
    findings = {one.name: one async for one in examine(less)}
    assert not findings["kie accounts"].ok
    assert "archive (1 open jobs)" in findings["kie accounts"].detail
    assert STUDIO not in str(findings)
