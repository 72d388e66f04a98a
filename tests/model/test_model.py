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
from random import Random
from typing import get_args
from uuid import uuid4

import asyncpg
import hypothesis
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import run_state_machine_as_test

from shared.domain.lifecycle import JobState, Reason
from shared.settings import ChargeBasis
from tests.model.dice import walk
from tests.model.machine import ANSWER_NAMES, LifeOfJobs
from tests.model.stage import Stage, build_stage

# Other words of Kie for what `rate_limited` stands for here.
NEVER_HERE = {Reason.MAINTENANCE, Reason.PROVIDER_FULL, Reason.UNREACHABLE}
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES") or 40)
STEPS = int(os.environ.get("MODEL_STEPS") or 25)
IS_LONG = "MODEL_EXAMPLES" in os.environ
WALK_STEPS = 100
SUITE_SEED, SUITE_WALKS = 20_261_123, 15
SEED = int(os.environ.get("MODEL_SEED") or SUITE_SEED)

EXPECTED = {
    *(state.value for state in JobState),
    *(f"reason {reason.value}" for reason in Reason if reason not in NEVER_HERE),
    *(f"reply {name}" for name in (*ANSWER_NAMES, "accepted, too late", "refused, too late")),
    *(f"callback {word}" for word in ("hastened", "confirmed", "refuted", "late", "late_success")),
    *(f"{basis}, {how}" for basis in get_args(ChargeBasis) for how in ("fewer", "enough")),
    *(f"resolved {claim}" for claim in ("own", "wrong", "none")),
    *("settled delivered", "settled undelivered"),
    *("crash", "stale write", "fenced write"),
}


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
            # Shrinking takes minutes: the suite shows the story as it was found.
            phases=[Phase.generate, Phase.shrink] if IS_LONG else [Phase.generate],
        ),
    )


def report(seen: Counter[str]) -> None:
    sys.stdout.write("".join(f"{count:>8} {what}\n" for what, count in sorted(seen.items())))


def test_database_and_reference_agree_after_every_step(stage: Stage) -> None:
    seen: Counter[str] = Counter()
    sys.stdout.write(f"seed {SEED}, {EXAMPLES} examples of at most {STEPS} steps\n")
    run_model(stage, seen, examples=EXAMPLES, steps=STEPS, seed=SEED)
    report(seen)
    assert seen["steps compared"] > EXAMPLES, seen


def test_long_everyday_walks_leave_nothing_unseen_and_agree_after_every_step(stage: Stage) -> None:
    seen: Counter[str] = Counter()
    seeds = [*range(SUITE_SEED, SUITE_SEED + SUITE_WALKS)]
    if SEED != SUITE_SEED:
        seeds += range(SEED, SEED + EXAMPLES // 10)
    sys.stdout.write(
        f"{len(seeds)} walks of {WALK_STEPS} steps, seeds from {SUITE_SEED} and {SEED}\n"
    )
    for seed in seeds:
        life = LifeOfJobs(stage, seen)
        try:
            walk(life, Random(seed), WALK_STEPS)
        except AssertionError as error:
            raise AssertionError(f"walk {seed}: {error}") from error
        finally:
            life.teardown()
    report(seen)
    assert not EXPECTED - set(seen), f"these walks never saw {sorted(EXPECTED - set(seen))}"
