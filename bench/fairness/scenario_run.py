"""Runs a scenario with a worker, and returns when the simulated Kie received each submit."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from random import Random

from bench.fairness.scenarios import Act, Crowd, Scenario
from bench.measurement.bench_deployment import BenchDeployment, open_bench_deployment
from bench.measurement.measured_process import running
from bench.measurement.pipelines import DarkroomPipeline, log_folder
from producer import Order, Producer
from shared.catalog.families.gpt4o_image import TextToImage
from shared.settings import CrashPoint

SUBMITS_PER_10_SECONDS = 40
TASK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Submit:
    """One submit that the simulated Kie received, in seconds since the start."""

    account: str
    at_seconds: float


@asynccontextmanager
async def open_fair_deployment() -> AsyncIterator[tuple[BenchDeployment, Producer]]:
    """Start servers and a simulated Kie of which each task takes as long."""
    simulator = ["--duration", f"{TASK_SECONDS:g}", "--sigma", "0", "--seed", "1"]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with (
            open_bench_deployment(Path(folder), simulator=simulator) as deployment,
            Producer.connect_to(deployment.servers) as producer,
        ):
            yield deployment, producer


@asynccontextmanager
async def running_worker(
    deployment: BenchDeployment, name: str, crash_at: CrashPoint | None = None, submits: int = 0
) -> AsyncIterator[None]:
    """Run a worker with the limit of submits. One with `crash_at` may end before it is ready."""
    program = DarkroomPipeline().worker(deployment)
    environ = {
        **program.environ,
        "KIE_SUBMITS_PER_10_SECONDS": str(submits or SUBMITS_PER_10_SECONDS),
        **({"DARKROOM_CRASH_AT": crash_at} if crash_at else {}),
    }
    folder = log_folder(deployment, name)
    if crash_at is None:
        async with running(program.arguments, environ, folder=folder, ready=program.ready):
            yield
        return
    process = await asyncio.create_subprocess_exec(
        *program.arguments, env=environ, cwd=folder, stderr=asyncio.subprocess.DEVNULL
    )
    if await process.wait() != -9:
        raise RuntimeError(f"the worker did not reach {crash_at}")
    yield


async def run_scenario(
    scenario: Scenario,
    seconds: float,
    watch: Callable[[Producer, float], Awaitable[None]] | None = None,
) -> list[Submit]:
    """Run the scenario for so long, and `watch` beside it. Returns the submits in order."""
    async with open_fair_deployment() as (deployment, producer):
        await _open_accounts(producer, scenario.crowds)
        async with running_worker(deployment, "first"):
            started_epoch = time.time()
            async with asyncio.timeout(seconds + 60), asyncio.TaskGroup() as group:
                for crowd in scenario.crowds:
                    group.create_task(_place(producer, crowd))
                for act in scenario.acts:
                    group.create_task(_act(deployment, producer, act))
                if watch is not None:
                    group.create_task(_watch(watch, producer, seconds))
                await asyncio.sleep(seconds)
            return await read_submits(deployment, started_epoch)


async def _watch(
    watch: Callable[[Producer, float], Awaitable[None]], producer: Producer, seconds: float
) -> None:
    await watch(producer, seconds)


async def read_submits(deployment: BenchDeployment, started_epoch: float) -> list[Submit]:
    """Return the submits that the simulated Kie received since then, in order."""
    submits = [
        Submit(task["prompt"].partition(" ")[0], task["created_at"] - started_epoch)
        for task in await deployment.tasks()
        if task["created_at"] >= started_epoch
    ]
    return sorted(submits, key=lambda one: one.at_seconds)


def orders_of(crowd: Crowd) -> list[Order]:
    """Return the orders of a crowd, of several accounts in any order."""
    orders = [
        Order(
            request=TextToImage(prompt=f"{account} {number}", aspect_ratio="1:1"),
            account_id=account,
            priority=crowd.priority,
        )
        for account in crowd.account_ids()
        for number in range(crowd.jobs)
    ]
    if crowd.accounts > 1:
        Random(1).shuffle(orders)  # noqa: S311
    return orders


async def _open_accounts(producer: Producer, crowds: Sequence[Crowd]) -> None:
    for crowd in crowds:
        for account in crowd.account_ids():
            await producer.billing.create_account(account)
            await producer.billing.grant(account, Decimal(1_000_000), "for the measurement")
            await producer.billing.set_account_limits(
                account, weight=Decimal(crowd.weight), max_open_jobs=crowd.max_open_jobs
            )


async def _place(producer: Producer, crowd: Crowd) -> None:
    await asyncio.sleep(crowd.at_seconds)
    await producer.enqueue_many(orders_of(crowd))


async def _act(deployment: BenchDeployment, producer: Producer, act: Act) -> None:
    await asyncio.sleep(act.at_seconds)
    match act.what:
        case "pause":
            await producer.pauses.pause("account", act.account, reason="for the measurement")
        case "resume":
            await producer.pauses.resume_scope("account", act.account)
        case "kill a worker while it chooses":
            async with running_worker(deployment, "doomed", crash_at="after_choose"):
                sys.stderr.write(f"a worker died at {act.at_seconds:g} s after it had chosen\n")


def grouped(submits: Sequence[Submit], scenario: Scenario) -> list[Submit]:
    """Return the submits with the name of their crowd as the account."""
    crowd_of = {one: crowd.name for crowd in scenario.crowds for one in crowd.account_ids()}
    return [replace(one, account=crowd_of[one.account]) for one in submits]
