"""How long data of ended jobs is kept: the kinds, and their days."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings

FOREVER = "forever"
"""The value of a RETENTION_..._DAYS setting by which nothing is pruned."""
MAX_DAYS = 36_500


class RetentionKind(StrEnum):
    """What is pruned, in its order. Stored in `retention_progress.kind`."""

    EVENTS = "events"
    """The events of a job."""
    CALLBACKS = "callbacks"
    """Callbacks of Kie that were handled."""
    WEBHOOKS = "webhooks"
    """Webhook messages that were delivered or given up."""
    PROMPTS = "prompts"
    """Request, metadata and message of a job, and what Kie said of it."""
    JOBS = "jobs"
    """All of that, the webhook URL and the links of images."""


RetentionDays = Mapping[RetentionKind, int]
"""The days after the end of a job. A kind that is missing is kept for ever."""


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
