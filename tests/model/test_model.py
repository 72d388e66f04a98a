"""The whole life of many jobs over the real SQL, held equal to a reference after each step.

A short run, always the same, belongs to the suite. A long one:
`MODEL_EXAMPLES=5000 MODEL_SEED=7`, or `make model`; its seed is printed and repeats it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import asyncpg
import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis.stateful import run_state_machine_as_test

from shared.domain.lifecycle import TERMINAL
from tests.model.machine import LifeOfJobs
from tests.model.stage import Stage, build_stage

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES") or 40)
STEPS = int(os.environ.get("MODEL_STEPS") or 25)
SEED = int(os.environ.get("MODEL_SEED") or 20_261_123)


@pytest.fixture
def stage(template_database: str, tmp_path: Path) -> Iterator[Stage]:
    """A stage over a fresh database, on a loop of its own."""
    server, _, template = template_database.rpartition("/")
    name = f"m{uuid4().hex}"

    async def administer(statement: str) -> None:
        connection = await asyncpg.connect(f"{server}/{template}")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    with asyncio.Runner() as runner:
        runner.run(administer(f"CREATE DATABASE {name} TEMPLATE darkroom_template"))
        stack = AsyncExitStack()
        try:
            yield build_stage(runner, stack, f"{server}/{name}", tmp_path)
        finally:
            runner.run(stack.aclose())
            runner.run(administer(f"DROP DATABASE {name} WITH (FORCE)"))


def run_model(stage: Stage, seen: Counter[str], *, examples: int, steps: int, seed: int) -> None:
    """Run so many examples; raises with the shortest failing story."""

    class Machine(LifeOfJobs):
        def __init__(self) -> None:
            super().__init__(stage, seen)

    run_state_machine_as_test(
        hypothesis.seed(seed)(Machine),
        settings=hypothesis.settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_database_and_reference_agree_after_every_step(stage: Stage) -> None:
    seen: Counter[str] = Counter()
    sys.stdout.write(f"seed {SEED}, {EXAMPLES} examples of at most {STEPS} steps\n")
    run_model(stage, seen, examples=EXAMPLES, steps=STEPS, seed=SEED)
    sys.stdout.write("".join(f"{count:>8} {what}\n" for what, count in sorted(seen.items())))
    assert set(seen) >= {state.value for state in TERMINAL}, seen
