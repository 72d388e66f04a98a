"""A short hostile campaign in every test run; `make hostile` runs the long one."""

from __future__ import annotations

import sys

import pytest

from tests.hostile.hostile_invariants import faults_of
from tests.hostile.hostile_options import HostileOptions
from tests.hostile.hostile_report import write_report
from tests.hostile.hostile_run import run_attack

SHORT = HostileOptions(
    jobs=12,
    seconds=3.5,
    connections=500,
    # Other tests run at the same time, and load the two phases differently.
    slower_at_most=6.0,
    long_jobs=60,
)


@pytest.mark.timeout(180)
async def test_hostile_connections_harm_no_honest_job_and_leave_nothing_behind() -> None:
    outcome = await run_attack(SHORT)
    report = write_report(outcome)
    sys.stdout.write(report)
    assert not faults_of(outcome), report
    assert all(outcome.attack["outcomes"].values())
