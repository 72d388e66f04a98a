"""Verifies Kie's webhook signature: Base64 of HMAC-SHA256 over `taskId.timestamp`.

Source: docs.kie.ai/common-api/webhook-verification. The signature does not cover the body. A valid
one proves that something happened to the task, and not that the body is true. Kie publishes no
window for the timestamp; five minutes are allowed either way.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime

WINDOW_SECONDS = 300


def kie_signature(key: str, task_id: str, timestamp: str) -> str:
    """Return the signature as Kie computes it."""
    message = f"{task_id}.{timestamp}".encode()
    return base64.b64encode(hmac.new(key.encode(), message, hashlib.sha256).digest()).decode()


def find_signature_fault(
    key: str, task_id: str, timestamp: str, signature: str, now: datetime
) -> str | None:
    """Return what is wrong with a signature, or None where it is right."""
    if not timestamp or not signature:
        return "the callback is not signed"
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return "the timestamp is not in Unix seconds"
    if abs(now.timestamp() - int(timestamp)) > WINDOW_SECONDS:
        return f"the timestamp is more than {WINDOW_SECONDS} s away from now"
    expected = kie_signature(key, task_id, timestamp).encode()
    is_right = hmac.compare_digest(expected, signature.encode(errors="replace"))
    return None if is_right else "the signature is wrong"
