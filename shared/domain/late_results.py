"""What may happen to a task after its job has ended without its images, and when it is checked.

None of it moves the job: a terminal state never changes, and nothing is charged.
"""

from __future__ import annotations

DELIVERED_LATE = "delivered_late"
"""The event of images that were stored after the end of their job."""
FAILED_LATE = "failed_late"
"""The event of Kie's verdict, after the end of the job, that there are no images."""
DELIVERED_LATE_WEBHOOK = f"job.{DELIVERED_LATE}"
"""The `type` of the webhook that tells of late images."""

CHECK_DELAYS_SECONDS = (300.0, 1_800.0, 7_200.0, 21_600.0, 86_400.0)
"""The delay after each check; after the last of these, the last of them. The first check is a
minute after the end of the job."""
UNANSWERED_DELAY_SECONDS = 1_800.0
"""The longest delay after a check to which Kie gave no answer about the task."""
_JITTER = 0.1


def check_delay_seconds(checks: int, jitter: float, *, is_answered: bool) -> float:
    """Return when to check again, after so many checks before the one just made.

    `jitter` is 0 to 1, and adds up to a tenth: tasks that were given up together do not stay
    together.
    """
    delay_seconds = CHECK_DELAYS_SECONDS[min(checks, len(CHECK_DELAYS_SECONDS) - 1)]
    if not is_answered:
        delay_seconds = min(delay_seconds, UNANSWERED_DELAY_SECONDS)
    return delay_seconds * (1 + _JITTER * jitter)
