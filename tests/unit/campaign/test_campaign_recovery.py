"""The recovery times of jobs: which are measured, and which are listed separately."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.campaign.campaign_evidence import Attempt, Evidence
from tests.campaign.lease_watch import Orphan
from tests.campaign.outage_watch import OutageInterval
from tests.campaign.recovery_times import Moved, recovered
from tests.support.restarted_process import Death
from tests.unit.campaign.sample_evidence import evidence_of, succeeded

JOB = succeeded(0)


def lost_at_10_and_moved_at_20() -> Evidence:
    evidence = evidence_of([JOB])
    tables = replace(
        evidence.tables,
        attempts=[Attempt(JOB.id, "host:7", 9.0, 20.0)],
        events={JOB.id: [(9.0, "claimed"), (20.0, "outcome_unknown")]},
    )
    return replace(evidence, tables=tables)


def measured(*orphans: Orphan, outages: tuple[OutageInterval, ...] = ()) -> list[Moved]:
    deaths = [Death(10.0, "worker 1", 7)]
    return recovered(lost_at_10_and_moved_at_20(), deaths, orphans, [(0.0, 99.0)], outages)


def test_the_time_runs_from_the_death_of_the_worker_until_the_next_event() -> None:
    (moved,) = measured()
    assert (moved.seconds, moved.doing, moved.deaths) == (10.0, "submitting", 1)
    assert (moved.unmanned_seconds, moved.outage_seconds) == (0.0, 0.0)


def test_a_second_worker_that_had_it_and_died_restarts_the_time() -> None:
    (moved,) = measured(Orphan(15.0, JOB.id, "submitting"))
    assert (moved.seconds, moved.since_first_seconds, moved.deaths) == (5.0, 10.0, 2)


def test_a_death_that_is_seen_twice_counts_once() -> None:
    (moved,) = measured(Orphan(10.1, JOB.id, "submitting"))
    assert moved.deaths == 1


def test_an_outage_is_counted_as_far_as_it_fell_into_the_time() -> None:
    (moved,) = measured(
        outages=(OutageInterval("valkey", 8.0, 13.0), OutageInterval("postgres", 19.5, 40.0))
    )
    assert moved.outage_seconds == pytest.approx(3.5)


def test_a_reply_lost_before_the_death_was_held_by_no_process() -> None:
    evidence = lost_at_10_and_moved_at_20()
    events = [(9.0, "claimed"), (9.5, "outcome_unknown"), (20.0, "submitted")]
    evidence = replace(evidence, tables=replace(evidence.tables, events={JOB.id: events}))
    assert recovered(evidence, [Death(10.0, "worker 1", 7)], [], [], []) == []
