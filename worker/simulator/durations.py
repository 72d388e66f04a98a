"""How long tasks take: named, seeded distributions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

DISTRIBUTIONS = ("lognormal", "bimodal", "heavy-tail")

_FAST_HUMP_SECONDS = 25.0
_SLOW_HUMP_SECONDS = 110.0
_SLOW_SHARE = 0.3
_HUMP_SPREAD = 0.1
_TAIL_FROM_SECONDS = 20.0
_TAIL_EXPONENT = 1.7


@dataclass(frozen=True, slots=True)
class Durations:
    """A distribution of task durations in seconds.

    ``median_seconds`` and ``sigma`` shape the lognormal only (sigma 0 makes it constant);
    ``scale`` multiplies whatever is drawn.
    """

    distribution: str = "lognormal"
    median_seconds: float = 35.0
    sigma: float = 0.4
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"distribution {self.distribution!r} is unknown; use one of "
                f"{', '.join(DISTRIBUTIONS)}"
            )
        if min(self.median_seconds, self.sigma, self.scale) < 0:
            raise ValueError("the duration's median, sigma and scale must not be negative")

    def draw(self, randomness: Random) -> float:
        """The duration of the next task, in seconds."""
        return self.scale * self._draw_unscaled(randomness)

    @property
    def typical_seconds(self) -> float:
        """The median. Progress is measured against it, so that it reveals the end of no single
        task.
        """
        if self.distribution == "bimodal":
            return self.scale * _FAST_HUMP_SECONDS
        if self.distribution == "heavy-tail":
            return self.scale * _TAIL_FROM_SECONDS * math.pow(2.0, 1.0 / _TAIL_EXPONENT)
        return self.scale * self.median_seconds

    def _draw_unscaled(self, randomness: Random) -> float:
        if self.distribution == "bimodal":
            slow = randomness.random() < _SLOW_SHARE
            hump = _SLOW_HUMP_SECONDS if slow else _FAST_HUMP_SECONDS
            return max(0.0, randomness.normalvariate(hump, hump * _HUMP_SPREAD))
        if self.distribution == "heavy-tail":
            return _TAIL_FROM_SECONDS * randomness.paretovariate(_TAIL_EXPONENT)
        if self.sigma == 0:
            return self.median_seconds
        return self.median_seconds * math.exp(self.sigma * randomness.gauss(0.0, 1.0))
