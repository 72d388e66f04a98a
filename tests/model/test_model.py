"""Many short examples over the real SQL, compared with a reference after each step.

A short run, always the same, belongs to the suite. A long one:
`MODEL_EXAMPLES=5000 MODEL_SEED=7`, or `make model`; its seed is printed and repeats it.
"""

from __future__ import annotations

import sys
from collections import Counter

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import run_state_machine_as_test

from tests.model.length import EXAMPLES, IS_LONG, SEED, STEPS, report
from tests.model.machine import JobRules
from tests.model.model_setup import ModelSetup


def run_model(
    setup: ModelSetup, seen: Counter[str], *, examples: int, steps: int, seed: int
) -> None:
    """Run so many examples. Raises with the shortest failing example."""

    class Machine(JobRules):
        def __init__(self) -> None:
            super().__init__(setup, seen)

    run_state_machine_as_test(
        hypothesis.seed(seed)(Machine),
        settings=hypothesis.settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            # Shrinking takes minutes, so the suite shows the example as found.
            phases=[Phase.generate, Phase.shrink] if IS_LONG else [Phase.generate],
        ),
    )


def test_database_and_reference_agree_after_every_step(setup: ModelSetup) -> None:
    seen: Counter[str] = Counter()
    sys.stdout.write(f"seed {SEED}, {EXAMPLES} examples of at most {STEPS} steps\n")
    run_model(setup, seen, examples=EXAMPLES, steps=STEPS, seed=SEED)
    report(seen)
    assert seen["steps compared"] > EXAMPLES, seen
