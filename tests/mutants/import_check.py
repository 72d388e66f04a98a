"""A pytest plugin that refuses to test any other tree than the one that pytest was started in.

The project may be installed in editable form, and then `import shared` could quietly bring the
real tree instead of the copy with the mutant.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import producer
import shared
import worker
from shared.adapters.postgres.named_queries import sql_folder


def pytest_configure(config: pytest.Config) -> None:
    """Check that the packages and the SQL are those of pytest's root."""
    root = config.rootpath.resolve()
    places = [Path(package.__file__ or "/") for package in (shared, producer, worker)]
    for place in [*places, sql_folder(), Path(__file__)]:
        if not place.resolve().is_relative_to(root):
            raise pytest.UsageError(f"{place} would be tested, which is not in the copy {root}")
