"""The floor: how polls and statements are shared out, and a short run of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.figures.bare_loop import LoopLoad, poll_moments, share
from bench.measurement.bench_deployment import open_bench_deployment
from bench.measurement.pipelines import BareLoopPipeline
from bench.measurement.statement_counts import count
from bench.measurement.worker_run import count_statements, measure
from bench.peers.job_placement import due

SHAPE = LoopLoad(jobs=6, polls=2, statements=5, first_seconds=0.2, gap_seconds=0.2, end_seconds=0.5)


@pytest.mark.parametrize("per_job", [0.0, 0.3, 1.0, 2.5, 11.16])
def test_jobs_share_what_there_is_so_that_the_sum_is_right(per_job: float) -> None:
    shares = [share(number, per_job) for number in range(1000)]
    assert sum(shares) == pytest.approx(1000 * per_job, abs=1)
    assert max(shares) - min(shares) <= 1


def test_the_last_poll_finds_the_task_done_whatever_their_number() -> None:
    shape = LoopLoad(1, 4, 8, first_seconds=2, gap_seconds=1, end_seconds=4.8)
    assert poll_moments(1, shape) == [4.8]
    assert poll_moments(4, shape) == [2, 3, 4, 4.8]
    assert poll_moments(6, shape) == [2, 3, 4, 4.8, 4.8, 4.8]


def test_statements_are_counted_from_the_log_without_the_wiping_of_connections() -> None:
    lines = [
        "2026-01-01 [7] LOG:  execute __asyncpg_stmt_1__: SELECT 1",
        "2026-01-01 [7] DETAIL:  parameters: $1 = '1'",
        "2026-01-01 [7] LOG:  statement: BEGIN;",
        "2026-01-01 [7] LOG:  statement: SELECT pg_advisory_unlock_all();",
        "\tRESET ALL;",
        "2026-01-01 [7] LOG:  checkpoint starting: time",
    ]
    assert count(lines) == 2


def test_orders_come_due_evenly() -> None:
    assert [due(elapsed, 10, 5.0) for elapsed in (0, 1, 2.5, 4.99, 9)] == [1, 3, 6, 10, 10]
    assert due(0, 10, 0) == 10


@pytest.mark.parametrize("per_job", [5.0, 1.5])
async def test_the_bare_loop_does_its_jobs_with_the_polls_and_statements_asked_for(
    tmp_path: Path, per_job: float
) -> None:
    shape = replace(SHAPE, statements=per_job)
    simulator = ["--create-latency", "0", "--poll-latency", "0", "--duration", "0.3"]
    async with open_bench_deployment(
        tmp_path, simulator=[*simulator, "--sigma", "0"], fsync=False
    ) as deployment:
        run = await measure(deployment, BareLoopPipeline(shape), shape.jobs)
        statements = await count_statements(deployment, BareLoopPipeline(shape), shape.jobs)
    assert run.polls_per_job == 2
    assert 0.5 < run.seconds < 10
    assert run.cpu_seconds < run.seconds
    assert run.statements == 0
    assert statements == per_job
