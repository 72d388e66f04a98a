"""How long data of ended jobs is kept: the kinds, and their days."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

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
