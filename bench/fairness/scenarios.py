"""The situations in which the order of jobs is measured, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from producer.orders.order import Priority


@dataclass(frozen=True, slots=True)
class Crowd:
    """Jobs that one or several equal accounts place at the same time."""

    name: str
    jobs: int
    accounts: int = 1
    at_seconds: float = 0.0
    weight: float = 1.0
    priority: Priority = "normal"
    max_open_jobs: int | None = None

    def account_ids(self) -> list[str]:
        """Return the accounts."""
        if self.accounts == 1:
            return [self.name]
        return [f"{self.name}-{number}" for number in range(self.accounts)]


@dataclass(frozen=True, slots=True)
class Act:
    """What happens meanwhile."""

    what: Literal["pause", "resume", "kill a worker while it chooses"]
    at_seconds: float
    account: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One situation. `shares` is what the accounts have to get while all of them wait."""

    name: str
    crowds: Sequence[Crowd]
    shares: str
    acts: Sequence[Act] = ()


SCENARIOS = (
    Scenario(
        "two equal accounts",
        [Crowd("a", 400), Crowd("b", 60, at_seconds=8)],
        "1 : 1 while b waits",
    ),
    Scenario(
        "one huge and 50 small",
        [Crowd("huge", 2_000), Crowd("small", 1, accounts=50, at_seconds=8)],
        "each small account 1 job before the second next of huge",
    ),
    Scenario(
        "weights 1, 2, 4",
        [Crowd("one", 300), Crowd("two", 300, weight=2), Crowd("four", 300, weight=4)],
        "1 : 2 : 4",
    ),
    Scenario(
        "a mix of priorities",
        [
            Crowd("high", 300, priority="high"),
            Crowd("normal", 300),
            Crowd("low", 300, priority="low"),
        ],
        "16 : 4 : 1",
    ),
    Scenario(
        "a limit of open jobs",
        [Crowd("limited", 300, max_open_jobs=3), Crowd("free", 300)],
        "limited never has more than 3 open, free has the rest",
    ),
    Scenario(
        "a pause in the middle",
        [Crowd("paused", 300), Crowd("other", 300)],
        "1 : 1, without arrears after the pause",
        [Act("pause", 8, "paused"), Act("resume", 20, "paused")],
    ),
    Scenario(
        "a worker killed while it chooses",
        [Crowd("a", 300), Crowd("b", 300)],
        "1 : 1",
        [Act("kill a worker while it chooses", 12)],
    ),
)
