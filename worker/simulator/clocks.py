"""The two clocks that the simulator reads, handed in so that tests can set them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SimulatorClocks:
    """Where time comes from.

    ``monotonic`` (seconds) ages tasks and counts arrivals, so a stepped wall clock cannot
    distort the record; ``epoch`` (seconds since 1970) only dates what is shown.
    """

    monotonic: Callable[[], float] = time.monotonic
    epoch: Callable[[], float] = time.time
