"""The body of a request that pauses submits."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from producer.api.requests.admin_bodies import Reason
from producer.api.requests.order_body import parse_rfc3339
from producer.api.requests.query_parameters import is_storable_text
from producer.orders.field_limits import ACCOUNT_LENGTH
from producer.pauses import MAX_PAUSE_SECONDS, PauseScope
from shared.field_faults import format_value
from shared.text_and_url_checks import optional
from shared.utc_times import UTC_YEARS, has_utc_time

_NO_NUL: dict[str, Any] = {"pattern": r"^[^\x00]*$"}


def _check_value(value: object) -> object:
    if isinstance(value, str) and 1 <= len(value) <= ACCOUNT_LENGTH and is_storable_text(value):
        return value
    raise ValueError(f"{format_value(value)} must be text of 1 to {ACCOUNT_LENGTH} characters")


def _check_until(value: object) -> object:
    time = parse_rfc3339(value) if isinstance(value, str) else value
    if isinstance(time, datetime) and time.tzinfo is not None:
        if not has_utc_time(time):
            raise ValueError(f"{format_value(value)} must be {UTC_YEARS}")
        return time
    raise ValueError(f"{format_value(value)} must be a time with its timezone")


def _check_seconds(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and 1 <= value <= MAX_PAUSE_SECONDS:  # type: ignore[operator]
        return value
    raise ValueError(f"{format_value(value)} must be a number from 1 to {MAX_PAUSE_SECONDS}")


class PauseStart(BaseModel):
    """What is paused, why, and until when. Without an end, until it is resumed."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"scope": "account", "value": "acme", "reason": "they asked", "for_seconds": 7200}
            ]
        },
    )

    scope: PauseScope = Field(description="what is paused")
    value: Annotated[str | None, optional(_check_value)] = Field(
        default=None,
        description="the model, the account or the Kie account; none for everything",
        max_length=ACCOUNT_LENGTH,
        json_schema_extra={"minLength": 1, **_NO_NUL},
    )
    reason: Reason = Field(description="why, for the people who see the pause")
    until: Annotated[datetime | None, optional(_check_until)] = Field(
        default=None, description="when it ends automatically, with its timezone; not in the past"
    )
    for_seconds: Annotated[float | None, optional(_check_seconds)] = Field(
        default=None,
        description="after how many seconds it ends automatically; not together with until",
        json_schema_extra={"minimum": 1, "maximum": MAX_PAUSE_SECONDS},
    )


class BrakeEnd(BaseModel):
    """Which brakes are ended, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"kie_account": "default", "reason": "topped up"}]},
    )

    kie_account: Annotated[str, BeforeValidator(_check_value)] = Field(
        description="one of our Kie accounts",
        max_length=ACCOUNT_LENGTH,
        json_schema_extra={"minLength": 1, **_NO_NUL},
    )
    model: Annotated[str | None, optional(_check_value)] = Field(
        default=None,
        description="only the brake for this model; without it, all of the Kie account",
        max_length=ACCOUNT_LENGTH,
        json_schema_extra={"minLength": 1, **_NO_NUL},
    )
    reason: Reason = Field(description="what was repaired")
