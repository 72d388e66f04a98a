"""Percentiles of measured values."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float, *, of_none: float = 0.0) -> float:
    """Return the value that this percentage of the values is below; `of_none` without values."""
    ordered = sorted(values)
    index = min(int(len(ordered) * percent / 100), len(ordered) - 1)
    return ordered[index] if ordered else of_none
