"""Names of what happens to tasks whose job has ended.

These events do not change the job: a terminal state never changes, and nothing is charged.
"""

from __future__ import annotations

DELIVERED_LATE = "delivered_late"
"""The event: images were stored after the end of their job."""
DELIVERED_LATE_WEBHOOK = f"job.{DELIVERED_LATE}"
"""The `type` of the webhook for late images."""
IMAGES_STORED = "images_stored"
"""The event: all images of a success are copied, and its end is announced."""
IMAGES_OVERDUE = "images_overdue"
"""The event: the end of a success is announced although not all of its images are copied."""
IMAGES_DUE_AT = "images_due_at"
"""The detail of a success whose end waits for copies of its images."""
