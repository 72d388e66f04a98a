"""A short failover campaign in every test run; `make failover` runs the long ones."""

from __future__ import annotations

import sys

import pytest

from tests.failover.failover_report import write_report
from tests.failover.failover_run import FailoverPlan, run_failover

SHORT = FailoverPlan(jobs=60, times=1, workers=2, seed=20_262, seconds_between=9.0)


# Three quarters of a minute, where the machine has time for it.
@pytest.mark.timeout(300)
async def test_a_failover_of_each_server_loses_nothing_and_jobs_move_again_in_time() -> None:
    outcome = await run_failover(SHORT)
    report = write_report([outcome])
    sys.stdout.write(report)
    assert {one.server for one in outcome.failovers} == {"Postgres", "Valkey"}
    assert outcome.is_clean(), report
