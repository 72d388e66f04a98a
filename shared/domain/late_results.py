"""Names of what happens to tasks whose job has ended.

These events do not change the job: a terminal state never changes, and nothing is charged.
"""

from __future__ import annotations

DELIVERED_LATE = "delivered_late"
"""The event: images were stored after the end of their job."""
DELIVERED_LATE_WEBHOOK = f"job.{DELIVERED_LATE}"
"""The `type` of the webhook for late images."""
