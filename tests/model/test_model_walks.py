"""Long everyday walks over the real SQL, held equal to a reference after each step.

They must have seen every state, reason, answer and outcome that the model knows.
"""

from __future__ import annotations

import sys
from collections import Counter
from random import Random
from typing import get_args

import pytest

from producer.pauses import PauseScope
from shared.domain.lifecycle import IN_FLIGHT, JobState, Reason
from shared.settings import ChargeBasis
from tests.model.answers import ANSWER_NAMES
from tests.model.length import EXAMPLES, SEED, SUITE_SEED, report
from tests.model.machine import JobRules
from tests.model.model_setup import ModelSetup
from tests.model.random_walk import walk

# Other words of Kie for what `rate_limited` stands for here; and no model has another route.
NEVER_HERE = {
    Reason.MAINTENANCE,
    Reason.PROVIDER_FULL,
    Reason.UNREACHABLE,
    Reason.ROUTE_UNFIT,
}
WALK_STEPS = 100
SUITE_WALKS = range(20_261_140, 20_261_160)
"""Their seeds: together they see everything."""

EXPECTED = {
    *(state.value for state in JobState),
    *(f"reason {reason.value}" for reason in Reason if reason not in NEVER_HERE),
    *(f"reply {name}" for name in (*ANSWER_NAMES, "accepted, too late", "refused, too late")),
    *(f"callback {word}" for word in ("hastened", "confirmed", "refuted", "late", "late_success")),
    *(f"{basis}, {how}" for basis in get_args(ChargeBasis) for how in ("fewer", "enough")),
    *(f"resolved {claim}" for claim in ("own", "wrong", "none")),
    *("settled delivered", "settled undelivered"),
    *(f"late task {fate}" for fate in ("delivered", "failed", "refuted", "put off")),
    *(f"pause of {scope}" for scope in get_args(PauseScope)),
    *("chosen", "shares compared", "taken back", "limit of open jobs"),
    *(f"cancel, then {state}" for state in ("cancelled", *sorted(IN_FLIGHT))),
    "cancelled by its deferral",
    *("resume", "pause ended by itself", "a paused job was not submitted"),
    *("crash", "stale write", "fenced write", "poll after an operator"),
}


@pytest.mark.timeout(300)
def test_long_everyday_walks_leave_nothing_unseen_and_agree_after_every_step(
    setup: ModelSetup,
) -> None:
    seen: Counter[str] = Counter()
    seeds = [*SUITE_WALKS]
    if SEED != SUITE_SEED:
        seeds += range(SEED, SEED + EXAMPLES // 10)
    sys.stdout.write(
        f"{len(seeds)} walks of {WALK_STEPS} steps, seeds from {SUITE_WALKS[0]} and {SEED}\n"
    )
    for seed in seeds:
        rules = JobRules(setup, seen)
        try:
            walk(rules, Random(seed), WALK_STEPS)
        except AssertionError as error:
            raise AssertionError(f"walk {seed}: {error}") from error
        finally:
            rules.teardown()
    report(seen)
    never = EXPECTED - {what for what, count in seen.items() if count}
    assert not never, f"these walks never saw {sorted(never)}"
