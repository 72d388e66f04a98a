"""Signs messages by the Standard Webhooks specification (standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

SECRET_PREFIX = "whsec_"  # noqa: S105 - the public mark of a secret, not one
"""The prefix of a secret, by which people and scanners recognise one."""


def message_header_id(message_id: UUID) -> str:
    """Return the id that receivers see: the same for every try of one message."""
    return f"msg_{message_id.hex}"


def webhook_signature(secret: str, message: str, timestamp: int, body: bytes) -> str:
    """Return the signature `v1,<Base64>` of a body; `timestamp` is in Unix seconds."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signed_headers(
    secrets: Sequence[str], message_id: UUID, sent_at: datetime, body: bytes
) -> Mapping[str, str]:
    """Return the three headers of one try. Each of the secrets alone verifies it.

    `sent_at` is when this try is sent. Receivers refuse an old one, which prevents replays.
    """
    message, timestamp = message_header_id(message_id), int(sent_at.timestamp())
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(
            webhook_signature(one, message, timestamp, body) for one in secrets
        ),
    }
