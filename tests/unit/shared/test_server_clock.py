"""The estimate of a server's clock does not depend on this machine's clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import isnan

import pytest

from shared.adapters.postgres.server_clock import ServerClock, monotonic_seconds

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class World:
    """A server and a machine, each with a clock that tests set."""

    seconds: float = 1000.0
    server_wrong_seconds: float = 0.0
    local_wrong_seconds: float = 0.0
    clock: ServerClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = ServerClock(monotonic=lambda: self.seconds, local=self.local)

    def server(self) -> datetime:
        return START + timedelta(seconds=self.seconds + self.server_wrong_seconds)

    def local(self) -> datetime:
        return START + timedelta(seconds=self.seconds + self.local_wrong_seconds)

    def ask(self, there_seconds: float = 0.0, back_seconds: float = 0.0) -> None:
        asked_at = self.clock.monotonic()
        self.seconds += there_seconds
        told = self.server()
        self.seconds += back_seconds
        self.clock.observe(told, asked_at)

    def error_seconds(self) -> float:
        return (self.clock.now() - self.server()) / timedelta(seconds=1)


@pytest.mark.parametrize("wrong_seconds", [0.0, 1800.0, -3600.0, 86_400.0 * 365])
def test_it_tells_the_servers_time_whatever_the_local_clock_says(wrong_seconds: float) -> None:
    world = World(local_wrong_seconds=wrong_seconds)
    world.ask(0.001, 0.001)
    world.seconds += 600
    assert world.error_seconds() == pytest.approx(0, abs=0.001)
    assert world.clock.skew_seconds == pytest.approx(wrong_seconds, abs=0.001)


@pytest.mark.parametrize("jump_seconds", [3600.0, -3600.0])
def test_a_local_clock_that_is_set_changes_nothing_but_the_skew(jump_seconds: float) -> None:
    world = World()
    world.ask()
    world.local_wrong_seconds += jump_seconds
    world.seconds += 10
    assert world.error_seconds() == pytest.approx(0, abs=1e-6)
    assert world.clock.skew_seconds == pytest.approx(jump_seconds, abs=1e-6)


@pytest.mark.parametrize("jump_seconds", [3600.0, -3600.0, 0.5])
def test_a_server_whose_clock_is_set_is_followed_at_the_next_answer(jump_seconds: float) -> None:
    world = World()
    world.ask()
    world.server_wrong_seconds += jump_seconds
    world.ask(0.002, 0.002)
    assert world.error_seconds() == pytest.approx(0, abs=0.004)


def test_a_slow_answer_makes_the_estimate_no_worse() -> None:
    world = World()
    world.ask(0.001, 0.001)
    before = world.error_seconds()
    for there_seconds, back_seconds in ((0.0, 3.0), (3.0, 0.0), (2.0, 2.0)):
        world.ask(there_seconds, back_seconds)
        assert world.error_seconds() == pytest.approx(before, abs=1e-6)


def test_the_error_of_a_first_answer_is_half_its_way_at_most() -> None:
    for there_seconds, back_seconds in ((0.0, 0.2), (0.2, 0.0), (0.1, 0.1)):
        world = World()
        world.ask(there_seconds, back_seconds)
        assert abs(world.error_seconds()) <= 0.1 + 1e-6


def test_before_any_answer_the_skew_is_unknown() -> None:
    world = World(local_wrong_seconds=5.0)
    assert isnan(world.clock.skew_seconds)
    assert not world.clock.is_known
    assert world.clock.now() == world.local()


def test_the_monotonic_clock_goes_forward() -> None:
    first = monotonic_seconds()
    assert 0 <= monotonic_seconds() - first < 60
