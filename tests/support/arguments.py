"""Types of command line arguments, for `argparse`."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def positive(text: str) -> int:
    """Parse an integer of 1 or more."""
    return at_least(1)(text)


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a parser of integers of at least `minimum`."""

    def parse(text: str) -> int:
        number = int(text)
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{number} must be {minimum} or more")
        return number

    return parse


def seconds_up_to(maximum: float) -> Callable[[str], float]:
    """Return a parser of numbers above 0 and up to `maximum`."""

    def parse(text: str) -> float:
        number = float(text)
        if not 0 < number <= maximum:
            raise argparse.ArgumentTypeError(f"{text} must be above 0, {maximum:g} at most")
        return number

    return parse
