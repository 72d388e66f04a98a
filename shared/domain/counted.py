"""Numbers with their nouns, for sentences that people read."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its words: `1 job waits`, `2 jobs wait`.

    `many` is what stands for all numbers but 1. Without it, an `s` is added to `one`.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
