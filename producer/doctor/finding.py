"""What the doctor found about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    fix: str | None = None
    """What to do about it, where something is wrong."""
    since: datetime | None = None
    """When it went wrong, where that is known."""
