"""When a webhook is sent again or given up, and in which order, by a fake clock."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.webhooks.retry_schedule import next_try_at, read_retry_after
from worker.webhooks.send_concurrency import (
    LONGEST_WAIT_SECONDS,
    MAX_UNPROVEN_REQUESTS,
    ConcurrencyReached,
    SendConcurrency,
)

START = datetime(2031, 5, 1, 12, tzinfo=UTC)
END = START + timedelta(days=1)


def tries_of_a_message_that_nobody_takes(jitter: float) -> list[float]:
    """Return the seconds after the start at which it is tried."""
    moment, moments = START, []
    while True:
        moments.append((moment - START).total_seconds())
        again = next_try_at(len(moments), moment, END, jitter=jitter)
        if again is None:
            return moments
        moment = again


def test_the_gaps_grow_from_seconds_to_hours_and_the_last_try_is_a_day_later() -> None:
    moments = tries_of_a_message_that_nobody_takes(0.0)
    gaps = [later - sooner for sooner, later in pairwise(moments)]
    assert gaps[:9] == [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800]
    assert moments[-1] == 24 * 3600
    assert len(moments) == 12


@given(st.floats(0, 1))
def test_with_any_jitter_it_ends_at_the_day_after_about_a_dozen_tries(jitter: float) -> None:
    moments = tries_of_a_message_that_nobody_takes(jitter)
    assert 11 <= len(moments) <= 12
    assert moments[-1] == 24 * 3600
    assert moments == sorted(moments)


def test_jitter_only_stretches_and_by_a_fifth_at_most() -> None:
    for tries in range(1, 9):
        waits = [
            (next_try_at(tries, START, END, jitter=jitter) or END) - START for jitter in (0.0, 1.0)
        ]
        assert waits[1] == waits[0] * 1.2


def test_nothing_is_tried_after_its_deadline() -> None:
    assert next_try_at(3, END - timedelta(seconds=1), END, jitter=0.5) == END
    assert next_try_at(3, END, END, jitter=0.5) is None
    assert next_try_at(1, END + timedelta(days=3), END, jitter=0.5) is None


@pytest.mark.parametrize(
    ("asked", "waited"), [(0, 5), (3, 5), (90, 90), (3600, 3600), (86_400, 3600), (1e12, 3600)]
)
def test_a_receiver_may_ask_for_up_to_an_hour(asked: float, waited: float) -> None:
    again = next_try_at(1, START, END, jitter=0.0, asked_seconds=asked)
    assert again == START + timedelta(seconds=waited)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *((None, None), ("120", 120), (" 7 ", 7), ("0", 0), ("", None), ("soon", None)),
        *(("-5", None), ("1.5", None), ("9" * 400, None), ("\N{ARABIC-INDIC DIGIT SEVEN}", None)),
        ("Thu, 01 May 2031 12:02:00 GMT", 120),
        ("Thu, 01 May 2031 12:02:00 -0000", 120),
        ("Wed, 30 Apr 2031 12:00:00 GMT", 0),
        ("Thu, 99 May 2031 12:02:00 GMT", None),
    ],
)
def test_retry_after_is_read_leniently(text: str | None, seconds: float | None) -> None:
    assert read_retry_after(text, START) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_is_an_error(text: str) -> None:
    seconds = read_retry_after(text, START)
    assert seconds is None or seconds >= 0


# --- turns ------------------------------------------------------------------------------------


class TimedLimits:
    """The limits by a clock that the test moves."""

    def __init__(self, **options: int) -> None:
        self.now = 1_000.0
        self.turns = SendConcurrency(monotonic=lambda: self.now, **options)
        self.held = ExitStack()

    def take(
        self, endpoint: str, host: str | None = None, account_id: str | None = None
    ) -> float | None:
        """Begin a request that does not end. Returns the wait if a limit is reached."""
        try:
            self.held.enter_context(self._turn(endpoint, host, account_id))
        except ConcurrencyReached as full:
            return full.wait_seconds
        return None

    def prove(self, endpoint: str, seconds: float = 0.01, host: str | None = None) -> None:
        """Let one request there begin and end."""
        with self._turn(endpoint, host):
            self.now += seconds

    def _turn(
        self, endpoint: str, host: str | None, account_id: str | None = None
    ) -> AbstractContextManager[None]:
        # An account of its own unless one is named.
        return self.turns.reserve(endpoint, host or endpoint, account_id or endpoint)

    def fill(self, endpoint: str, host: str | None = None) -> int:
        """Begin requests until a limit is reached. Returns how many."""
        count = 0
        while self.take(endpoint, host) is None:
            count += 1
        return count


def test_each_endpoint_has_a_few_slots_of_its_own() -> None:
    bench = TimedLimits(per_endpoint=8)
    for endpoint in ("a", "b"):
        bench.prove(endpoint)
        assert bench.fill(endpoint) == 8
    bench.held.close()
    assert bench.fill("a") == 8


def test_an_endpoint_that_has_never_answered_gets_two() -> None:
    bench = TimedLimits()
    assert bench.fill("a") == MAX_UNPROVEN_REQUESTS == 2


def test_endpoints_of_one_host_share_its_slots() -> None:
    bench = TimedLimits(per_endpoint=8, per_host=24)
    bench.prove("a", host="shop")
    places = sum(bench.fill(f"hook/{number}", "shop") for number in range(100))
    assert places == 24
    assert bench.take("hook", "other shop") is None


def test_a_slot_is_released_when_sending_fails() -> None:
    bench = TimedLimits()
    for _ in range(10):
        with pytest.raises(ZeroDivisionError), bench.turns.reserve("a", "a", "acme"):
            raise ZeroDivisionError
    assert bench.fill("a") == 8


def test_waiters_get_later_and_later_times() -> None:
    bench = TimedLimits(per_endpoint=8)
    bench.prove("a", 4.0)
    bench.fill("a")
    waits = [bench.take("a") or 0 for _ in range(50)]
    assert waits == sorted(waits)
    assert waits[-1] > 5
    assert len(set(waits)) == 50


def test_ten_thousand_messages_of_a_dead_endpoint_cost_few_claims() -> None:
    bench = TimedLimits(per_endpoint=8)
    bench.prove("a", 15.0)
    bench.fill("a")
    waiting = {number: bench.take("a") or 0 for number in range(10_000)}
    assert max(waiting.values()) <= LONGEST_WAIT_SECONDS
    soon = [wait for wait in waiting.values() if wait < LONGEST_WAIT_SECONDS / 2]
    assert len(soon) < 500, "most of them come back after minutes"


def test_an_endpoint_that_hangs_is_known_to_be_slow_before_its_first_answer() -> None:
    bench = TimedLimits()
    bench.fill("a")
    at_once = bench.take("a") or 0
    bench.now += 10
    assert (bench.take("a") or 0) > 10 * at_once


def test_slow_endpoints_together_leave_half_of_the_slots_to_others() -> None:
    bench = TimedLimits(slow_at_once=16)
    for number in range(20):
        bench.prove(f"slow {number}", 15.0)
    assert sum(bench.fill(f"slow {number}") for number in range(20)) == 16
    bench.prove("quick")
    assert bench.fill("quick") == 8
    assert bench.take("new") is None


def test_an_account_with_many_hosts_has_half_of_the_slots() -> None:
    bench = TimedLimits(per_account=64, new_per_account=1_000)
    taken = [bench.take(f"host {number}", account_id="acme") for number in range(150)]
    assert taken.count(None) == 64
    assert all(wait > 0 for wait in taken if wait is not None)
    assert bench.take("host of another", account_id="other") is None
    assert bench.take("host 1", account_id="other") is None, "the same host, by another account"


def test_new_endpoints_of_one_account_have_a_part_of_its_slots() -> None:
    bench = TimedLimits(per_account=64, new_per_account=24)
    bench.prove("known")
    taken = [bench.take(f"host {number}", account_id="acme") for number in range(100)]
    assert taken.count(None) == 24
    bench.now += 10
    assert bench.take("one more", account_id="acme") is not None, "those that hang still count"
    assert bench.take("known", account_id="acme") is None
    assert bench.take("one more", account_id="other") is None
    bench.held.close()
    assert bench.take("host 50", account_id="acme") is None


def test_an_endpoint_that_has_become_quick_again_is_slow_no_more() -> None:
    bench = TimedLimits(slow_at_once=0)
    bench.prove("a", 15.0)
    assert bench.take("a") is not None
    limited = TimedLimits(slow_at_once=1)
    limited.prove("a", 15.0)
    for _ in range(10):
        limited.prove("a", 0.01)
    assert limited.fill("a") == 8


def test_calls_after_a_recovery_do_not_wait_for_earlier_ones() -> None:
    bench = TimedLimits()
    bench.prove("a", 15.0)
    bench.fill("a")
    for _ in range(1_000):
        bench.take("a")
    bench.now += 15
    bench.held.close()
    for _ in range(30):
        bench.prove("a", 0.01)
    assert bench.fill("a") == 8
    assert (bench.take("a") or 0) < 1


def test_endpoints_without_end_do_not_fill_the_memory() -> None:
    bench = TimedLimits()
    bench.take("held")
    for number in range(20_000):
        bench.prove(f"hook/{number}")
    assert len(bench.turns._usages) <= 5_002
    assert bench.take("held") is None
    assert bench.take("held") is not None
