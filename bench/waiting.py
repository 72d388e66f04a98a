"""`python -m bench.waiting`: how far `estimated_start_at` is from the real start (E9).

Runs the scenarios of `bench.fairness` against the simulated Kie. At several times it reads the
estimates of up to 1,000 queued jobs, and compares them with when the jobs were sent. A job whose
estimate is within the run and that was not sent counts with the error that it has at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from uuid import UUID

from bench.fairness.scenario_run import SUBMITS_PER_10_SECONDS, run_scenario
from bench.fairness.scenarios import SCENARIOS
from bench.measurement.measured_process import end_on_sigterm
from producer import Job, Producer
from tests.support.arguments import positive

ASKED_AT_SHARES = (0.1, 0.3, 0.5, 0.7)
"""When estimates are read, as shares of the run."""
GOAL_SECONDS, GOAL_SHARE = 10.0, 0.2


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimate of one job, and what came of it."""

    error_seconds: float
    """How much later it was sent than estimated."""
    wait_seconds: float
    """How long it really waited after it was asked."""

    @property
    def share(self) -> float:
        """The error as a share of the real wait."""
        return abs(self.error_seconds) / max(self.wait_seconds, 0.1)

    @property
    def is_good(self) -> bool:
        """Whether the error is at most 20 % of the wait, or 10 s."""
        return abs(self.error_seconds) <= GOAL_SECONDS or self.share <= GOAL_SHARE


class EstimateWatch:
    """Reads the estimates of one run, and compares them."""

    def __init__(self) -> None:
        self.estimates: list[Estimate] = []
        self.without: int = 0
        """Queued jobs of which nothing said when they start."""

    async def run(self, producer: Producer, seconds: float) -> None:
        """Read estimates during the run, and compare them at its end."""
        asked: list[tuple[UUID, datetime, datetime]] = []
        begun = asyncio.get_running_loop().time()
        for share in ASKED_AT_SHARES:
            await asyncio.sleep(begun + share * seconds - asyncio.get_running_loop().time())
            now = datetime.now(UTC)
            jobs = await producer.list(state="queued", limit=1_000)
            self.without += sum(job.estimated_start_at is None for job in jobs)
            asked += [
                (job.id, now, job.estimated_start_at) for job in jobs if job.estimated_start_at
            ]
        await asyncio.sleep(begun + seconds - asyncio.get_running_loop().time())
        await self._compare(producer, asked)

    async def _compare(
        self, producer: Producer, asked: Sequence[tuple[UUID, datetime, datetime]]
    ) -> None:
        end = datetime.now(UTC)
        jobs: dict[UUID, Job] = {}
        below: UUID | None = None
        while page := await producer.list(limit=1_000, below=below):
            jobs |= {job.id: job for job in page}
            below = page[-1].id
        for job_id, at, estimated in asked:
            sent = jobs[job_id].attempted_at
            if sent is None and estimated > end:
                continue
            real = sent or end
            self.estimates.append(
                Estimate((real - estimated).total_seconds(), (real - at).total_seconds())
            )


def report(watches: Sequence[tuple[str, EstimateWatch]], seconds: float) -> Iterator[str]:
    """Yield a row for each scenario, and one for all."""
    yield f"limit {SUBMITS_PER_10_SECONDS} submits in 10 s, {seconds:g} s each, one worker"
    yield ""
    yield (
        "| scenario | estimates | median error, s | p95, s | median error, % | within 20 % or 10 s"
        " | not known |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, watch in watches:
        yield _row(name, watch.estimates, watch.without)
    every = [one for _, watch in watches for one in watch.estimates]
    yield _row("all", every, sum(watch.without for _, watch in watches))


def _row(name: str, estimates: Sequence[Estimate], without: int) -> str:
    if not estimates:
        return f"| {name} | 0 | - | - | - | - | {without} |"
    errors = sorted(abs(one.error_seconds) for one in estimates)
    p95 = errors[min(int(len(errors) * 0.95), len(errors) - 1)]
    share = median(one.share for one in estimates)
    good = sum(one.is_good for one in estimates) / len(estimates)
    return (
        f"| {name} | {len(estimates):,} | {median(errors):.1f} | {p95:.1f} | {share:.0%} |"
        f" {good:.0%} | {without} |"
    )


async def _measure(seconds: float) -> None:
    end_on_sigterm()
    sys.stdout.write(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    watches = []
    for scenario in SCENARIOS:
        watch = EstimateWatch()
        await run_scenario(scenario, seconds, watch.run)
        watches.append((scenario.name, watch))
    sys.stdout.writelines(f"{line}\n" for line in report(watches, seconds))
    sys.stdout.write(f"load average {os.getloadavg()[0]:.1f} at the end\n")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=positive, default=40, help="of each scenario")
    asyncio.run(_measure(parser.parse_args().seconds))


if __name__ == "__main__":
    main()
