"""The type of the RETENTION settings, and what they say together."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings

from shared.retention import FOREVER, MAX_DAYS, RetentionDays, RetentionKind


def read_days(value: object) -> int | None:
    """Return the days that a setting says, or None for `forever`. Raises `ValueError`."""
    text = str(FOREVER if value is None else value).strip().lower()
    if text == FOREVER:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_DAYS:
        raise ValueError(
            f"must be a whole number of days from 1 to {MAX_DAYS}, or `{FOREVER}`, not {text!r:.40}"
        )
    return int(text)


KeptDays = Annotated[int | None, BeforeValidator(read_days)]


class RetentionSettings(BaseSettings):
    """Settings with a field `retention_..._days` for each kind."""

    @property
    def retention(self) -> RetentionDays:
        """How long each kind of data of ended jobs is kept. A kind that is missing: for ever."""
        days = {kind: getattr(self, f"retention_{kind}_days") for kind in RetentionKind}
        return {kind: count for kind, count in days.items() if count is not None}
