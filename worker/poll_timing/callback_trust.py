"""How far callbacks can be relied on just now: pure, from whether they came for recent ends.

While callbacks tell of nearly every end, scheduled polls are only a safety net and thin out. As
soon as ends are found by polls alone, the polls tighten again by themselves.
"""

from __future__ import annotations

MAX_INTERVAL_FACTOR = 4.0
_MEMORY = 0.1
"""The weight of the newest end: about the last twenty count."""
_TRUSTED_FROM = 0.8
_PROVEN_AFTER = 10


class CallbackTrust:
    """One worker's experience with callbacks; it starts without any."""

    def __init__(self) -> None:
        self._share = 0.0
        self._ends = 0

    def record(self, had_callback: bool) -> None:
        """Note one end: whether a callback had come for it."""
        self._ends += 1
        # The first ends count evenly, or the start would weigh for long.
        weight = max(_MEMORY, 1 / self._ends)
        self._share += weight * (float(had_callback) - self._share)

    def interval_factor(self) -> float:
        """Return by how much gaps between polls may be longer: 1 without trust, at most 4."""
        if self._ends < _PROVEN_AFTER or self._share <= _TRUSTED_FROM:
            return 1.0
        return 1.0 + (MAX_INTERVAL_FACTOR - 1.0) * (self._share - _TRUSTED_FROM) / (
            1.0 - _TRUSTED_FROM
        )
