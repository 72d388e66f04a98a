"""`python -m bench.backpressure`: how submits follow a Kie that accepts less than the limit.

In the first part Kie accepts 10 creates per 10 s, and the worker may send 20. In the second, Kie
refuses every create for a while, with each of 429 and 500, and then accepts all again. Prints what
was accepted and refused, and how long after its recovery Kie had accepted the full rate.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from bench.measurement.bench_deployment import BenchDeployment, open_bench_deployment
from bench.measurement.measured_process import running
from bench.measurement.pipelines import DarkroomPipeline, log_folder
from tests.support.arguments import seconds_up_to
from tests.support.report_page import table
from tests.support.run_description import describe_run

LIMIT = 20
_JOBS = 600
_RECOVERY_SECONDS = 150.0
_FULL = LIMIT - 1
"""Accepted within 10 s of this program's clock, that is the full rate: its reads are not exact."""


async def measure(limited_seconds: float, outage_seconds: float) -> str:
    """Measure both parts. Returns Markdown."""
    load = os.getloadavg()[0]
    rows = [await _limited(limited_seconds)]
    rows += [await _outage(code, outage_seconds) for code in (429, 500)]
    command = (
        f"python -m bench.backpressure --seconds {limited_seconds:g}"
        f" --outage-seconds {outage_seconds:g}"
    )
    head = describe_run(command, (load, os.getloadavg()[0]), "none")
    names = ("Kie", "accepted a minute", "refused a minute", "full rate after, s")
    return "\n".join(head) + "\n\n" + table(names, rows) + "\n"


async def _limited(seconds: float) -> tuple[str, ...]:
    async with _working(("--creates-per-10-seconds", str(LIMIT // 2))) as deployment:
        accepted, refused = await _counts(deployment)
        await asyncio.sleep(seconds)
        accepted, refused = (
            now - before
            for now, before in zip(await _counts(deployment), (accepted, refused), strict=True)
        )
    return (f"accepts {LIMIT // 2} per 10 s", *_per_minute(seconds, accepted, refused), "")


async def _outage(code: int, seconds: float) -> tuple[str, ...]:
    async with _working(("--fault", f"submit_code={code}")) as deployment:
        await asyncio.sleep(seconds)
        accepted, refused = await _counts(deployment)
        await _set_faults(deployment, submit_code=0)
        recovered = await _seconds_to_full_rate(deployment)
    name = f"answers {code} for {seconds:g} s"
    return (name, *_per_minute(seconds, accepted, refused), recovered)


async def _seconds_to_full_rate(deployment: BenchDeployment) -> str:
    began, created = monotonic(), [(0.0, (await _counts(deployment))[0])]
    while (now := monotonic() - began) < _RECOVERY_SECONDS:
        await asyncio.sleep(0.5)
        count = (await _counts(deployment))[0]
        created.append((monotonic() - began, count))
        window = [before for at, before in created if created[-1][0] - at <= 10.0]
        if count - window[0] >= _FULL:
            return f"{now:.0f}"
    return f"more than {_RECOVERY_SECONDS:g}"


@asynccontextmanager
async def _working(simulator: tuple[str, ...]) -> AsyncIterator[BenchDeployment]:
    """Start a worker with jobs that wait."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with open_bench_deployment(Path(folder), simulator=simulator) as deployment:
            ours = DarkroomPipeline()
            await ours.place(deployment, _JOBS)
            program = ours.worker(deployment)
            limited = {"KIE_SUBMITS_PER_10_SECONDS": str(LIMIT)}
            program = replace(program, environ={**program.environ, **limited})
            async with running(
                program.arguments,
                program.environ,
                folder=log_folder(deployment, "worker"),
                ready=program.ready,
            ):
                yield deployment


async def _counts(deployment: BenchDeployment) -> tuple[int, int]:
    """Return how many creates Kie has accepted, and how many it has refused."""
    creates: dict[str, Any] = (await deployment.record())["creates"]
    return int(creates["created"]), int(creates["arrived"]) - int(creates["created"])


async def _set_faults(deployment: BenchDeployment, **faults: object) -> None:
    url = f"{deployment.kie_url}/simulator/faults"
    async with deployment.session.put(url, json=faults) as answer:
        answer.raise_for_status()


def _per_minute(seconds: float, *counts: int) -> tuple[str, ...]:
    return tuple(f"{60 * count / seconds:.1f}" for count in counts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.backpressure", allow_abbrev=False)
    parser.add_argument("--seconds", type=seconds_up_to(3600), default=180.0)
    parser.add_argument("--outage-seconds", type=seconds_up_to(3600), default=90.0)
    given = parser.parse_args()
    sys.stdout.write(asyncio.run(measure(given.seconds, given.outage_seconds)))
