"""The length and the seed of the model tests, and their report."""

from __future__ import annotations

import os
import sys
from collections import Counter

SUITE_SEED = 20_261_123
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES") or 40)
STEPS = int(os.environ.get("MODEL_STEPS") or 25)
IS_LONG = "MODEL_EXAMPLES" in os.environ
INVARIANTS_EVERY_STEPS = 5
"""In the suite. A long run checks them after every step; both at the end of each example."""
SEED = int(os.environ.get("MODEL_SEED") or SUITE_SEED)


def report(seen: Counter[str]) -> None:
    sys.stdout.write("".join(f"{count:>8} {what}\n" for what, count in sorted(seen.items())))
