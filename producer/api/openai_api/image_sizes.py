"""Maps OpenAI's sizes in pixels to the aspect ratios and resolutions of our families."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.errors import Fault
from shared.field_faults import format_value

AUTO = "auto"
_SIZE = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})", re.ASCII)
_RATIO = re.compile(r"([0-9]{1,2}):([0-9]{1,2})", re.ASCII)
_TOLERANCE = 0.02
"""The most that a ratio may differ from the size: 1792x1024 is 16:9."""
_RESOLUTIONS = (("1K", 2_000_000), ("2K", 4_300_000), ("4K", 9_000_000))
"""The most pixels that are asked for with each resolution: 2736x1536 is 2K."""
_EXAMPLES = {"1:1": "1024x1024", "3:2": "1536x1024", "2:3": "1024x1536", "16:9": "1536x864"}


def parse_size(value: object) -> tuple[int, int] | None:
    """Return width and height of a size such as `1536x1024`, or None for anything else."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return (int(found[1]), int(found[2])) if found else None


def find_ratio(width: int, height: int, ratios: Sequence[str]) -> str | None:
    """Return the ratio that fits the size, or None if none is within 2 %."""
    nearest = find_nearest_ratio(width, height, ratios)
    return nearest if nearest and _distance(width, height, nearest) <= _TOLERANCE else None


def find_nearest_ratio(width: int, height: int, ratios: Sequence[str]) -> str | None:
    """Return the ratio that is nearest to the size, or None if there are no ratios."""
    numeric = [ratio for ratio in ratios if _RATIO.fullmatch(ratio)]
    return min(numeric, key=lambda ratio: _distance(width, height, ratio), default=None)


def _distance(width: int, height: int, ratio: str) -> float:
    """Return the factor minus 1 between the shape of the size and of the ratio."""
    across, _, down = ratio.partition(":")
    factor = (width * int(down)) / (height * int(across))
    return max(factor, 1 / factor) - 1


def find_resolution(width: int, height: int, resolutions: Sequence[str]) -> str | None:
    """Return the lowest resolution that has the pixels of the size, or None if none has."""
    pixels = width * height
    return next(
        (name for name, most in _RESOLUTIONS if pixels <= most and name in resolutions), None
    )


def size_fault(value: object, family: str, ratios: Sequence[str]) -> Fault:
    """Return the fault of a size that the family cannot make, with the sizes that it can."""
    shown = [_EXAMPLES[ratio] for ratio in ratios if ratio in _EXAMPLES]
    return Fault(
        "size",
        f"is {format_value(value)}; {family} makes the aspect ratios {', '.join(ratios)}:"
        f" allowed are sizes of these, such as {', '.join(shown)}, and auto",
    )
