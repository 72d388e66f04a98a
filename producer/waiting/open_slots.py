"""When an account at its limit of open jobs may start its next ones."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

_OVERDUE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class OpenSlots:
    """The places for open jobs of one account. Each is used again when its job has ended."""

    free_in_seconds: tuple[float, ...]
    """In how many seconds each place becomes free. Sorted; 0 for one that is free."""
    run_seconds: float | None
    """The mean run time of jobs that ended lately. None: no job has ended yet."""

    @classmethod
    def of(
        cls, max_open_jobs: int, ages: Sequence[float], chosen: int, run_seconds: float | None
    ) -> OpenSlots:
        """Return the places of an account with open jobs of these ages and with chosen jobs.

        A job that runs longer than the mean is expected to end soon.
        """
        run = math.inf if run_seconds is None else run_seconds
        rests = [max(run - age, run * _OVERDUE_SHARE) for age in ages] + [run] * chosen
        free = max(max_open_jobs - len(rests), 0)
        rests = [0.0] * free + sorted(rests)
        return cls(tuple(rests[len(rests) - max_open_jobs :]), run_seconds)

    @property
    def free(self) -> int:
        """The number of places that are free now."""
        return bisect_right(self.free_in_seconds, 0.0)

    def seconds_until_start(self, number: int) -> float | None:
        """Return in how many seconds the n-th next job may start; None if that is not known."""
        rounds, place = divmod(number - 1, len(self.free_in_seconds))
        if self.run_seconds is None:
            return 0.0 if number <= self.free else None
        return self.free_in_seconds[place] + rounds * self.run_seconds

    def starts_within(self, seconds: float) -> int:
        """Return how many jobs may start within this time."""
        if not self.run_seconds:
            return self.free
        rounds, rest = divmod(seconds, self.run_seconds)
        # Every place is free once in each round.
        return int(rounds) * len(self.free_in_seconds) + bisect_right(self.free_in_seconds, rest)
