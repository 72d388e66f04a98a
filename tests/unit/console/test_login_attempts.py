"""How often a login may fail, by a clock in the test's clock."""

from __future__ import annotations

from producer.console.sessions.login_attempts import (
    FAILURES_MAX,
    FAILURES_OF_ADDRESS_MAX,
    WINDOW_SECONDS,
    LoginAttempts,
)


class ManualClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_address_may_fail_ten_times_a_minute() -> None:
    clock = ManualClock()
    attempts = LoginAttempts(clock)
    for _ in range(FAILURES_OF_ADDRESS_MAX):
        assert attempts.seconds_until_allowed("a") is None
        attempts.record_failure("a")
        clock.now += 1
    assert attempts.seconds_until_allowed("a") == WINDOW_SECONDS - FAILURES_OF_ADDRESS_MAX
    assert attempts.seconds_until_allowed("b") is None
    clock.now += WINDOW_SECONDS - FAILURES_OF_ADDRESS_MAX
    assert attempts.seconds_until_allowed("a") is None


def test_all_addresses_together_may_fail_a_hundred_times() -> None:
    clock = ManualClock()
    attempts = LoginAttempts(clock)
    for number in range(FAILURES_MAX):
        attempts.record_failure(f"address {number}")
    assert attempts.seconds_until_allowed("another") == WINDOW_SECONDS
    clock.now += WINDOW_SECONDS
    assert attempts.seconds_until_allowed("another") is None


def test_what_is_a_minute_old_needs_no_memory() -> None:
    clock = ManualClock()
    attempts = LoginAttempts(clock)
    for number in range(10_000):
        attempts.record_failure(f"address {number}")
        clock.now += 1
        attempts.seconds_until_allowed("another")
    assert len(attempts._failures) <= WINDOW_SECONDS
    assert len(attempts._of_address) <= WINDOW_SECONDS
