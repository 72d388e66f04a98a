"""What the API returns. Written by `make types` from the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class RevokedWebhookSecret:
    """The secret of an account that was ended, without it."""

    account_id: str
    created_at: datetime
    rotated_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class WebhookDelivery:
    """A webhook message and the tries to deliver it."""

    id: str
    """The `webhook-id` that receivers get."""
    job_id: str
    account_id: str
    event: str
    state: Literal["pending", "delivered", "dead"]
    endpoint: str
    """The URL without its query."""
    created_at: datetime
    tries: int
    next_try_at: datetime
    retry_until: datetime
    last_try_at: datetime | None
    last_status: int | None
    last_error: str | None
    delivered_at: datetime | None
    replayed_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class WebhookSecret:
    """A secret that signs webhooks."""

    account_id: str
    created_at: datetime
    rotated_at: datetime | None
    url: str | None
    """Whose messages it signs; null: all of the account."""
    secret: str
    previous_secret_until: datetime | None
    """Until when the secret before signs as well."""


@dataclass(frozen=True, kw_only=True)
class WebhookTry:
    """One try to deliver a webhook message."""

    at: datetime
    status: int | None
    """The HTTP status; null: no answer came."""
    error: str | None
    """Why it was not accepted; null: it was."""
    seconds: Decimal


@dataclass(frozen=True, kw_only=True)
class WebhookWithTries:
    """A webhook message with each of its tries."""

    id: str
    """The `webhook-id` that receivers get."""
    job_id: str
    account_id: str
    event: str
    state: Literal["pending", "delivered", "dead"]
    endpoint: str
    """The URL without its query."""
    created_at: datetime
    tries: int
    next_try_at: datetime
    retry_until: datetime
    last_try_at: datetime | None
    last_status: int | None
    last_error: str | None
    delivered_at: datetime | None
    replayed_at: datetime | None
    history: tuple[WebhookTry, ...]
    """The newest 100 tries, newest first, those before a replay included."""
