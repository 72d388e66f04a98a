"""Runs a hostile campaign: honest jobs alone, the same during the attack, and the checks."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from producer import Order
from shared.catalog.families.gpt4o_image import TextToImage
from tests.hostile.attack_kinds import Target
from tests.hostile.honest_jobs import run_honest_jobs
from tests.hostile.hostile_deployment import LONG, POOR, HostileDeployment, open_hostile_deployment
from tests.hostile.hostile_evidence import ResourceWatch, ask_doctor, log_bytes, stored, watch
from tests.hostile.hostile_invariants import HostileResult, faults_of
from tests.hostile.hostile_options import HostileOptions

_LONG_PROMPT = "a very long story " * 250
_ATTACK_MARGIN_SECONDS = 30.0


async def run_attack(options: HostileOptions) -> HostileResult:
    """Run a campaign in its own folder, which is kept if something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    keep = True
    try:
        async with open_hostile_deployment(folder, options) as deployment:
            outcome = await _conduct(deployment, options)
        keep = bool(faults_of(outcome))
        return outcome
    finally:
        if keep:
            sys.stderr.write(f"the logs of this campaign are in {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)


async def _conduct(deployment: HostileDeployment, options: HostileOptions) -> HostileResult:
    await _place_long_jobs(deployment, options)
    alone = await run_honest_jobs(deployment, "alone", options.jobs, options.seconds)
    stored_before = await stored(deployment, options.jobs)
    lengths = log_bytes(deployment)
    seen = ResourceWatch({}, {})
    watching = asyncio.create_task(watch(deployment, seen))
    try:
        async with _attacking(deployment, options) as attacking:
            attacked = await run_honest_jobs(deployment, "attacked", options.jobs, options.seconds)
            told, _ = await attacking.communicate()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return HostileResult(
        options=options,
        alone=alone,
        attacked=attacked,
        attack=orjson.loads(told),
        watch=seen,
        log_growth={name: length - lengths[name] for name, length in log_bytes(deployment).items()},
        stored_before=stored_before,
        stored_after=await stored(deployment, 2 * options.jobs),
        doctor=await ask_doctor(deployment),
        tracebacks=sum(
            deployment.logs[name].read_text(encoding="utf-8").count("Traceback")
            for name in ("worker", "api")
        ),
    )


async def _place_long_jobs(deployment: HostileDeployment, options: HostileOptions) -> None:
    """Enqueue long jobs of one hostile account for a time in the far future."""
    run_at = datetime.now(UTC) + timedelta(days=300)
    request = TextToImage(prompt=_LONG_PROMPT[:5_000], aspect_ratio="1:1")
    orders = [
        Order(request=request, account_id=LONG, run_at=run_at) for _ in range(options.long_jobs)
    ]
    await deployment.producer.enqueue_many(orders)


@asynccontextmanager
async def _attacking(
    deployment: HostileDeployment, options: HostileOptions
) -> AsyncIterator[asyncio.subprocess.Process]:
    target = Target(
        deployment.api_port, deployment.worker_port, deployment.keys[LONG], deployment.keys[POOR]
    )
    given = {
        "target": asdict(target),
        "connections": options.connections,
        "seconds": options.seconds,
        "seed": options.seed,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hostile.attack_process", orjson.dumps(given).decode()),
        env=deployment.environ,
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(2 * options.seconds + _ATTACK_MARGIN_SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
