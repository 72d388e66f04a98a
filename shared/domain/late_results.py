"""Events of tasks whose job has ended, and the intervals of their checks.

These events do not change the job: a terminal state never changes, and nothing is charged.
"""

from __future__ import annotations

DELIVERED_LATE = "delivered_late"
"""The event: images were stored after the end of their job."""
FAILED_LATE = "failed_late"
"""The event: Kie reported a failure after the end of the job."""
DELIVERED_LATE_WEBHOOK = f"job.{DELIVERED_LATE}"
"""The `type` of the webhook for late images."""

CHECK_DELAYS_SECONDS = (300.0, 1_800.0, 7_200.0, 21_600.0, 86_400.0)
"""The delay after each check. The last one repeats. The first check is one minute after the end of
the job."""
UNANSWERED_DELAY_SECONDS = 1_800.0
"""The maximum delay after a check without information about the task."""
_JITTER = 0.1


def check_delay_seconds(checks: int, jitter: float, *, is_answered: bool) -> float:
    """Return the delay before the next check. `checks` is the number of checks before this one.

    `jitter` is 0 to 1 and adds up to 10 %, so that tasks of jobs that ended together spread out.
    """
    delay_seconds = CHECK_DELAYS_SECONDS[min(checks, len(CHECK_DELAYS_SECONDS) - 1)]
    if not is_answered:
        delay_seconds = min(delay_seconds, UNANSWERED_DELAY_SECONDS)
    return delay_seconds * (1 + _JITTER * jitter)
