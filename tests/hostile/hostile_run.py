"""Conducts a hostile campaign: honest jobs alone, the same beside the attack, and the judgement."""

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
from tests.hostile.honest_jobs import play
from tests.hostile.hostile_deployment import LONG, POOR, Stage, open_stage
from tests.hostile.hostile_evidence import Watch, ask_doctor, log_bytes, stored, watch
from tests.hostile.hostile_invariants import Outcome, faults_of
from tests.hostile.hostile_options import Options

_LONG_PROMPT = "a very long story " * 250
_ATTACK_MARGIN_SECONDS = 30.0


async def conduct(options: Options) -> Outcome:
    """Run a campaign in a folder of its own, which stays behind where something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    keep = True
    try:
        async with open_stage(folder, options) as stage:
            outcome = await _conduct(stage, options)
        keep = bool(faults_of(outcome))
        return outcome
    finally:
        if keep:
            sys.stderr.write(f"the logs of this campaign are in {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)


async def _conduct(stage: Stage, options: Options) -> Outcome:
    await _place_long_jobs(stage, options)
    alone = await play(stage, "alone", options.jobs, options.seconds)
    stored_before = await stored(stage, options.jobs)
    lengths = log_bytes(stage)
    seen = Watch({}, {})
    watching = asyncio.create_task(watch(stage, seen))
    try:
        async with _attacking(stage, options) as attacking:
            attacked = await play(stage, "attacked", options.jobs, options.seconds)
            told, _ = await attacking.communicate()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return Outcome(
        options=options,
        alone=alone,
        attacked=attacked,
        attack=orjson.loads(told),
        watch=seen,
        log_growth={name: length - lengths[name] for name, length in log_bytes(stage).items()},
        stored_before=stored_before,
        stored_after=await stored(stage, 2 * options.jobs),
        doctor=await ask_doctor(stage),
        tracebacks=sum(
            stage.logs[name].read_text(encoding="utf-8").count("Traceback")
            for name in ("worker", "api")
        ),
    )


async def _place_long_jobs(stage: Stage, options: Options) -> None:
    """Have one hostile account own long jobs that wait for a year that does not come."""
    run_at = datetime.now(UTC) + timedelta(days=300)
    request = TextToImage(prompt=_LONG_PROMPT[:5_000], aspect_ratio="1:1")
    orders = [
        Order(request=request, account_id=LONG, run_at=run_at) for _ in range(options.long_jobs)
    ]
    await stage.producer.enqueue_many(orders)


@asynccontextmanager
async def _attacking(stage: Stage, options: Options) -> AsyncIterator[asyncio.subprocess.Process]:
    target = Target(stage.api_port, stage.worker_port, stage.keys[LONG], stage.keys[POOR])
    given = {
        "target": asdict(target),
        "connections": options.connections,
        "seconds": options.seconds,
        "seed": options.seed,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hostile.attack_process", orjson.dumps(given).decode()),
        env=stage.environ,
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
