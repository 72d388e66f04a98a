"""The lifecycle table, read from the other side: what must hold for every state and event."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import job_events
from shared.domain.job_events import Event
from shared.domain.lifecycle import (
    IN_FLIGHT,
    OPEN,
    TERMINAL,
    TRANSITIONS,
    JobState,
    Reason,
    event_name,
    next_state,
    transition_of,
)
from tests.support.lifecycle_diagram import to_mermaid

EVENTS = [
    one
    for _, one in inspect.getmembers(job_events, inspect.isclass)
    if issubclass(one, Event) and one is not Event
]
S = JobState
# Written out by hand, once more: the table under test must not be its own witness.
MOVES = {
    (S.QUEUED, "claimed"): S.SUBMITTING,
    (S.QUEUED, "route_unfit"): S.QUEUED,
    (S.QUEUED, "cancelled"): S.CANCELLED,
    (S.SUBMITTING, "submitted"): S.GENERATING,
    (S.SUBMITTING, "deferred"): S.QUEUED,
    (S.SUBMITTING, "cancelled_on_deferral"): S.CANCELLED,
    (S.SUBMITTING, "rejected"): S.FAILED,
    (S.SUBMITTING, "outcome_unknown"): S.UNKNOWN,
    (S.UNKNOWN, "submitted"): S.GENERATING,
    (S.UNKNOWN, "deferred"): S.QUEUED,
    (S.UNKNOWN, "cancelled_on_deferral"): S.CANCELLED,
    (S.UNKNOWN, "rejected"): S.FAILED,
    (S.UNKNOWN, "submission_lost"): S.FAILED,
    (S.GENERATING, "progressed"): S.GENERATING,
    (S.GENERATING, "held_for_review"): S.GENERATING,
    (S.GENERATING, "completed"): S.SUCCEEDED,
    (S.GENERATING, "provider_failed"): S.FAILED,
    (S.GENERATING, "deadline_exceeded"): S.FAILED,
}


def reachable_from(start: JobState) -> set[JobState]:
    seen, new = {start}, {start}
    while new:
        new = {target for state in new for target in targets_of(state)} - seen
        seen |= new
    return seen


def targets_of(state: JobState) -> set[JobState]:
    return {row.target for row in TRANSITIONS if state in row.sources}


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("event", EVENTS, ids=event_name)
def test_an_event_leads_where_the_table_says_and_nowhere_else(
    state: JobState, event: type[Event]
) -> None:
    assert next_state(state, event) == MOVES.get((state, event_name(event)))


def test_every_event_stands_in_the_table_exactly_once() -> None:
    assert sorted(row.event.__name__ for row in TRANSITIONS) == sorted(
        event.__name__ for event in EVENTS
    )


@pytest.mark.parametrize("event", EVENTS, ids=event_name)
def test_an_event_finds_its_own_row(event: type[Event]) -> None:
    assert transition_of(event).event is event


def test_event_names_are_distinct_words() -> None:
    names = [event_name(event) for event in EVENTS]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").islower() for name in names)


def test_every_state_can_be_reached() -> None:
    assert reachable_from(S.QUEUED) == set(JobState)


@pytest.mark.parametrize("state", sorted(OPEN))
def test_every_open_state_can_end_well_and_badly(state: JobState) -> None:
    assert {S.SUCCEEDED, S.FAILED} <= reachable_from(state)


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_terminal_state_has_no_exit(state: JobState) -> None:
    assert targets_of(state) == set()


def test_open_and_terminal_states_are_all_states_and_share_none() -> None:
    assert set(JobState) == OPEN | TERMINAL
    assert not OPEN & TERMINAL
    assert OPEN - {S.QUEUED} == IN_FLIGHT


def test_only_an_image_makes_a_success() -> None:
    assert [row.event for row in TRANSITIONS if row.target is S.SUCCEEDED] == [job_events.Completed]


def test_a_job_that_may_have_a_paid_task_goes_back_to_the_queue_only_on_proof_of_none() -> None:
    back = [
        row.event for row in TRANSITIONS if row.target is S.QUEUED and row.sources != {S.QUEUED}
    ]
    assert back == [job_events.Deferred]


def test_a_job_with_a_task_is_never_submitted_again() -> None:
    assert not {S.QUEUED, S.SUBMITTING, S.UNKNOWN} & reachable_from(S.GENERATING)


def test_a_job_is_cancelled_only_where_there_is_certainly_no_task() -> None:
    assert transition_of(job_events.Cancelled).sources == {S.QUEUED}
    on_proof = transition_of(job_events.CancelledOnDeferral).sources
    assert on_proof == transition_of(job_events.Deferred).sources


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_whatever_happens_a_job_that_has_ended_stays_as_it_ended(
    happenings: list[type[Event]],
) -> None:
    states = list(walk(happenings))
    first_end = next((state for state in states if state in TERMINAL), None)
    if first_end is not None:
        assert set(states[states.index(first_end) :]) == {first_end}


def walk(happenings: Iterable[type[Event]]) -> Iterable[JobState]:
    state = S.QUEUED
    for event in happenings:
        state = next_state(state, event) or state
        yield state


def test_reasons_and_states_are_stable_words() -> None:
    for word in [*JobState, *Reason]:
        assert word == word.name.lower()


def test_the_drawing_has_an_arrow_for_every_move() -> None:
    drawn = to_mermaid().splitlines()
    for (source, name), target in MOVES.items():
        assert f"    {source} --> {target}: {name}" in drawn
    arrows = [line for line in drawn if "[*]" not in line and "-->" in line]
    assert len(arrows) == len(MOVES)
