"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    ok: bool
    detail: str
    fix: str | None = None
    """What to do, if `ok` is False."""
    since: datetime | None = None
    """Since when `ok` is False, if known."""
