"""Positions are those of the fair order, and times those of Kie's window."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.waiting.fair_positions import (
    FairOrder,
    PriorityTurn,
    WaitingAccount,
    position_in_time,
)
from producer.waiting.open_slots import OpenSlots
from producer.waiting.submit_pace import KieAccountState, SubmitPace, plan_pace
from producer.waiting.waiting_snapshot import ActivePause, WaitingSnapshot
from producer.waiting.waiting_table import find_shares, waiting_table

SHARES = {"high": 16, "normal": 4, "low": 1}


def turns(**started: float) -> tuple[PriorityTurn, ...]:
    return tuple(
        PriorityTurn(name, share, started.get(name, 0.0), 0.0) for name, share in SHARES.items()
    )


def waiting(name: str, jobs: int, weight: float = 1.0, **more: object) -> WaitingAccount:
    values: dict[str, object] = {"priority": "normal", "turn": 0.0, **more}
    return WaitingAccount(name, waiting=jobs, weight=weight, **values)  # type: ignore[arg-type]


def choose_all(order: FairOrder) -> list[tuple[str, str, int]]:
    """Choose one job after the other by the rule, with exact numbers. The oracle."""
    class_turn = {one.priority: Fraction(one.turn) for one in order.turns.values()}
    turn = {(one.priority, one.account_id): Fraction(one.turn) for one in order.accounts}
    left = {(one.priority, one.account_id): one.waiting for one in order.accounts}
    weight = {one.account_id: Fraction(one.weight) for one in order.accounts}
    taken = dict.fromkeys(left, 0)
    chosen: list[tuple[str, str, int]] = []
    while any(left.values()):
        classes = {priority for (priority, _), jobs in left.items() if jobs}
        first = min(classes, key=lambda one: (class_turn[one], -SHARES[one]))
        _, name = min(
            (key for key, jobs in left.items() if jobs and key[0] == first),
            key=lambda key: (turn[key], key[1]),
        )
        key = first, name
        left[key] -= 1
        taken[key] += 1
        chosen.append((*key, taken[key]))
        turn[key] += 1 / weight[name]
        class_turn[first] += Fraction(1, SHARES[first])
    return chosen


backlogs = st.dictionaries(
    st.tuples(st.sampled_from(sorted(SHARES)), st.sampled_from("abcde")),
    st.integers(1, 12),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@given(
    backlog=backlogs,
    weights=st.lists(st.sampled_from([0.5, 1, 2, 3, 4, 10]), min_size=5, max_size=5),
    begun=st.lists(st.sampled_from([0.0, 0.25, 1.0, 2.5]), min_size=8, max_size=8),
    chosen=st.integers(0, 3),
)
def test_every_position_is_that_of_the_choice(
    backlog: dict[tuple[str, str], int], weights: list[float], begun: list[float], chosen: int
) -> None:
    of_account = dict(zip("abcde", weights, strict=True))
    order = FairOrder(
        chosen=chosen,
        priorities=turns(),
        accounts=tuple(
            waiting(name, jobs, of_account[name], priority=priority, turn=turn)
            for ((priority, name), jobs), turn in zip(backlog.items(), begun, strict=False)
        ),
    )
    for place, (priority, name, number) in enumerate(choose_all(order), start=chosen + 1):
        account = order.find(name, priority)
        assert account is not None
        assert order.place(account, number).position() == place


@pytest.mark.parametrize("accounts", [31, 33, 64, 97, 170])
def test_every_position_among_many_accounts_is_that_of_the_choice(accounts: int) -> None:
    random = Random(accounts)
    begun = [0.0, 0.25, 1.0, 2.5, 7.75]
    found = tuple(
        waiting(f"a{number}", random.randint(1, 6), random.choice([1, 2, 3]), turn=turn)
        for number, turn in enumerate(random.choices(begun, k=accounts))
    )
    order = FairOrder(0, turns(), found)
    for place, (priority, name, number) in enumerate(choose_all(order), start=1):
        account = order.find(name, priority)
        assert account is not None
        assert order.place(account, number).position() == place


def test_a_paused_account_is_before_nobody() -> None:
    order = FairOrder(
        0, turns(), (waiting("acme", 50, is_paused=True), waiting("bolt", 3, turn=0.0))
    )
    bolt = order.find("bolt", "normal")
    assert bolt is not None
    assert order.place(bolt, 3).position() == 3


def test_the_next_job_of_an_account_without_waiting_jobs_waits_one_turn() -> None:
    order = FairOrder(0, turns(), (waiting("acme", 500), waiting("bolt", 500, 4.0)))
    assert order.place(order.new_account("cord", "normal", 1.0), 1).position() == 3


def test_an_account_at_its_limit_is_passed_over_and_waits_for_its_own_jobs() -> None:
    slots = OpenSlots.of(2, [25.0, 5.0], 0, 30.0)
    capped = waiting("acme", 100, slots=slots)
    order = FairOrder(0, turns(), (capped, waiting("bolt", 40)))
    bolt = order.find("bolt", "normal")
    assert bolt is not None
    pace = plan_pace([KieAccountState(limit=20)])
    position, seconds = position_in_time(order, bolt, 40, pace.seconds_until)
    # In 10 s one of its two places becomes free.
    assert position == 41
    assert seconds == pytest.approx(20, abs=10)
    assert position_in_time(order, capped, 1, pace.seconds_until)[1] == pytest.approx(5)
    assert position_in_time(order, capped, 2, pace.seconds_until)[1] == pytest.approx(25)
    assert position_in_time(order, capped, 3, pace.seconds_until)[1] == pytest.approx(35)


@pytest.mark.parametrize(
    ("seconds", "starts"), [(0, 0), (4.9, 0), (5, 1), (24.9, 1), (25, 2), (35, 3), (60, 4)]
)
def test_places_of_open_jobs_become_free_as_jobs_end(seconds: float, starts: int) -> None:
    assert OpenSlots.of(2, [25.0, 5.0], 0, 30.0).starts_within(seconds) == starts


def test_without_a_run_time_only_free_places_are_known() -> None:
    slots = OpenSlots.of(3, [4.0], 1, None)
    assert (slots.seconds_until_start(1), slots.seconds_until_start(2)) == (0, None)


# --- times ----------------------------------------------------------------------------------


def test_the_times_follow_the_window_of_kie() -> None:
    pace = plan_pace([KieAccountState(limit=4, counted_until=(2.0, 3.0, 9.0))])
    assert [pace.seconds_until(place) for place in range(1, 10)] == [
        *(0, 2, 3, 9),
        *(10, 12, 13, 19),
        20,
    ]


def test_several_kie_accounts_share_the_work_and_a_paused_one_joins_later() -> None:
    pace = plan_pace([KieAccountState(limit=2), KieAccountState(limit=2, paused_seconds=5.0)])
    assert [pace.seconds_until(place) for place in range(1, 7)] == [0, 0, 5, 5, 10, 10]
    assert pace.per_second == pytest.approx(0.4)


def test_after_kie_was_busy_the_rate_grows_back_to_the_limit() -> None:
    state = KieAccountState(
        limit=20, rate=10.0, rate_limit=20.0, grows_in_seconds=10.0, grows_per_second=0.5
    )
    pace = plan_pace([state])
    # 10 in the first window, 10 in the second, 15 in the third, then 20.
    assert [pace.seconds_until(place) for place in (10, 11, 20, 21, 35, 36, 55, 56)] == [
        *(0, 10, 10, 20, 20, 30, 30),
        40,
    ]


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ([KieAccountState(limit=20, is_refused=True)], "submits_refused"),
        ([KieAccountState(limit=20, paused_seconds=float("inf"))], "paused"),
        ([], "paused"),
    ],
)
def test_nothing_is_promised_when_nothing_moves(states: list[KieAccountState], reason: str) -> None:
    pace = plan_pace(states)
    assert (pace.stopped, pace.seconds_until(1), pace.per_second) == (reason, None, 0.0)


def test_a_measured_rate_counts_only_where_it_is_clearly_below_the_limits() -> None:
    slow = plan_pace([KieAccountState(limit=20)], measured=0.5)
    assert slow.seconds_until(60) == pytest.approx(120)
    usual = plan_pace([KieAccountState(limit=20)], measured=1.9)
    assert usual.seconds_until(60) == pytest.approx(20)


def test_without_any_limit_jobs_start_at_once_or_as_fast_as_was_measured() -> None:
    assert plan_pace([KieAccountState(limit=0)]).seconds_until(500) == 0
    assert plan_pace([KieAccountState(limit=0)], 50.0).seconds_until(500) == pytest.approx(10)
    assert SubmitPace(stopped="no_worker").seconds_until(1) is None


def test_shares_are_those_of_the_priorities_divided_by_weight_between_who_waits() -> None:
    accounts = [
        waiting("a", 5),
        waiting("b", 9, weight=3),
        waiting("c", 2, priority="low"),
        waiting("paused", 7, weight=8, is_paused=True),
        waiting("idle", 0, weight=8),
    ]
    shares = find_shares(FairOrder(0, turns(), accounts))
    assert shares == {
        ("a", "normal"): pytest.approx(0.8 / 4),
        ("b", "normal"): pytest.approx(0.8 * 3 / 4),
        ("c", "low"): pytest.approx(0.2),
    }
    assert find_shares(FairOrder(0, turns(), accounts[3:])) == {}


@pytest.mark.parametrize(
    ("pauses", "ends_in_seconds"),
    [
        ((), 10),
        ((ActivePause("everything", None, 300.0),), 310),
        ((ActivePause("everything", None, 300.0), ActivePause("model", "m", 900.0)), 310),
        ((ActivePause("everything", None, 300.0), ActivePause("everything", None, 40.0)), 310),
        ((ActivePause("everything", None, math.inf),), None),
    ],
)
def test_the_backlog_ends_after_what_pauses_everything(
    pauses: tuple[ActivePause, ...], ends_in_seconds: float | None
) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    order = FairOrder(0, turns(), (waiting("acme", 4),))
    pace = plan_pace([KieAccountState(limit=2)])
    table = waiting_table(WaitingSnapshot(at, order, pace, pauses, {}, frozenset()), 10)
    end = None if ends_in_seconds is None else at + timedelta(seconds=ends_in_seconds)
    assert table.ends_at == end
    assert table.wait_reason == ("paused" if end is None else None)


def test_nobody_knows_when_the_backlog_ends_while_kie_refuses_one_model() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    order = FairOrder(0, turns(), (waiting("acme", 4),))
    pace = plan_pace([KieAccountState(limit=2)])
    braked = frozenset({"4o-image-api"})
    table = waiting_table(WaitingSnapshot(at, order, pace, (), {}, braked), 10)
    assert (table.ends_at, table.wait_reason) == (None, "submits_refused")
    assert table.accounts[0].next_start_at is not None, "its next job may be of another model"
