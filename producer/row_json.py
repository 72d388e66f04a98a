"""Database rows and accounts as JSON objects, for the HTTP API and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from shared.job_json import credits_to_json, timestamp_to_json

if TYPE_CHECKING:
    from producer.accounts.account import Account


def account_to_json(account: Account) -> dict[str, Any]:
    """Return the account object of the public contract."""
    return {
        "id": account.id,
        "balance": credits_to_json(account.balance),
        "held": credits_to_json(account.held),
        "available": credits_to_json(account.available),
        "created_at": timestamp_to_json(account.created_at),
        "weight": credits_to_json(account.weight),
        "max_open_jobs": account.max_open_jobs,
        "max_queued_jobs": account.max_queued_jobs,
        "max_credits_per_day": credits_to_json(account.max_credits_per_day),
        "max_priority": account.max_priority,
        "credits_today": credits_to_json(account.credits_today),
    }


def row_to_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON values: credits as numbers, times in UTC, ids as text."""
    return {name: _json_value(value) for name, value in row.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return credits_to_json(value)
    if isinstance(value, datetime):
        return timestamp_to_json(value)
    # asyncpg has its own subclass of UUID.
    return str(value) if isinstance(value, UUID) else value
