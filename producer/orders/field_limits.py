"""The limits of an order's fields, and the model of an order that names none."""

from __future__ import annotations

DEFAULT_MODEL = "gpt-4o-image"
"""The model of an order that names none."""
KEY_LENGTH = 255
"""The most characters of an idempotency key."""
RUN_AT_DAYS = 366
"""How far ahead a job may be scheduled, in days. Later is a mistyped year."""
ACCOUNT_LENGTH = 200
"""The most characters of an account's id."""
