"""Checks and sets the limits of an account."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TypedDict, Unpack, get_args

import orjson

from producer.accounts.account import Account
from producer.actor import Actor, actor_to_json
from producer.jobs.locked_rows import describe_accounts, name_locked_row
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.sqlstates import ACCOUNT_MISSING
from shared.domain.job import Priority
from shared.errors import AccountNotFound, DatabaseRefused, Fault, InvalidRequest
from shared.field_faults import format_value

WEIGHT_MIN, WEIGHT_MAX = 0.01, 1_000
JOBS_MAX = 2_147_483_647
CREDITS_PER_DAY_MAX = 1_000_000_000


class AccountLimits(TypedDict, total=False):
    """Limits to set. A limit that is missing stays as it is. None is no limit."""

    weight: Decimal | float
    """0.01 to 1,000."""
    max_open_jobs: int | None
    """1 or more."""
    max_queued_jobs: int | None
    """0 or more."""
    max_credits_per_day: Decimal | float | None
    """0 to 1,000,000,000."""
    max_priority: Priority


LIMIT_NAMES = tuple(AccountLimits.__annotations__)
_COUNTS = frozenset({"max_open_jobs", "max_queued_jobs"})


def check_limit(name: str, value: object) -> object:
    """Return the value of a limit. Raises `ValueError` with a sentence if it is not valid."""
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if name in _COUNTS and isinstance(value, float) and value.is_integer():
        value = int(value)  # 500.0 is a whole number in JSON
    is_count = is_number and isinstance(value, int)
    match name:
        case "weight":
            wanted = f"must be a number from {WEIGHT_MIN} to {WEIGHT_MAX:,}"
            is_valid = is_number and _is_between(value, WEIGHT_MIN, WEIGHT_MAX)
        case "max_open_jobs":
            wanted = f"must be a whole number from 1 to {JOBS_MAX:,}, or null: no limit"
            is_valid = value is None or (is_count and _is_between(value, 1, JOBS_MAX))
        case "max_queued_jobs":
            wanted = f"must be a whole number from 0 to {JOBS_MAX:,}, or null: no limit"
            is_valid = value is None or (is_count and _is_between(value, 0, JOBS_MAX))
        case "max_credits_per_day":
            wanted = f"must be a number from 0 to {CREDITS_PER_DAY_MAX:,}, or null: no limit"
            is_valid = value is None or (is_number and _is_between(value, 0, CREDITS_PER_DAY_MAX))
        case "max_priority":
            wanted = f"must be one of {', '.join(get_args(Priority))}"
            is_valid = value in get_args(Priority)
        case _:
            raise ValueError(f"is not a limit; allowed: {', '.join(LIMIT_NAMES)}")
    if not is_valid:
        raise ValueError(f"{format_value(value)} {wanted}")
    return value


def _is_between(value: object, lowest: float, highest: float) -> bool:
    assert isinstance(value, int | float | Decimal)  # noqa: S101
    return math.isfinite(value) and Decimal(str(lowest)) <= Decimal(str(value)) <= highest


async def set_account_limits(
    queries: Queries,
    account_id: str,
    reason: str | None = None,
    actor: Actor | str | None = None,
    **limits: Unpack[AccountLimits],
) -> Account:
    """Set the given limits of an account, and no others, and return the account.

    The change and its audit entry are one statement. Raises `InvalidRequest` with every fault,
    `AccountNotFound`, and `RowBusy` if another session has locked the account.
    """
    text = orjson.dumps(_check_limits(limits), default=str).decode()
    try:
        with name_locked_row(describe_accounts([account_id])):
            row = await queries.fetch_row(
                "set_account_limits", account_id, text, reason, actor_to_json(actor)
            )
    except DatabaseRefused as error:
        if error.sqlstate == ACCOUNT_MISSING:
            raise AccountNotFound(account_id) from error
        raise
    return Account(**dict(row or {}))


def _check_limits(limits: Mapping[str, object]) -> dict[str, object]:
    checked: dict[str, object] = {}
    faults: list[Fault] = []
    for name, value in limits.items():
        try:
            checked[name] = check_limit(name, value)
        except ValueError as refused:
            faults.append(Fault(name, str(refused)))
    if not limits:
        faults.append(Fault("", f"name at least one limit: {', '.join(LIMIT_NAMES)}"))
    if faults:
        raise InvalidRequest(faults)
    return checked
