"""The body of a change of an account's limits, which only admins send."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from producer.accounts.account_limits import (
    CREDITS_PER_DAY_MAX,
    JOBS_MAX,
    LIMIT_NAMES,
    WEIGHT_MAX,
    WEIGHT_MIN,
    AccountLimits,
    check_limit,
)
from producer.actor import MAX_REASON_LENGTH
from producer.api.requests.admin_bodies import REASON_SCHEMA, check_reason
from shared.domain.job import Priority


def _limit_or_none(description: str, schema: dict[str, Any]) -> Any:
    or_null: dict[str, Any] = {"anyOf": [schema, {"type": "null"}]}
    return Field(default=None, description=description, json_schema_extra=or_null)


def _check(name: str) -> BeforeValidator:
    return BeforeValidator(lambda value: check_limit(name, value))


class LimitsChange(BaseModel):
    """The limits to set. An absent one stays as it is, and null is no limit."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"weight": 2, "max_queued_jobs": 500, "reason": "nightly batches"}],
            "anyOf": [{"required": [name]} for name in LIMIT_NAMES],
        },
    )

    weight: Annotated[float, _check("weight")] = Field(
        default=1.0,
        description="its share of the submits while others wait, as a multiple of the default 1",
        json_schema_extra={"minimum": WEIGHT_MIN, "maximum": WEIGHT_MAX},
    )
    max_open_jobs: Annotated[int | None, _check("max_open_jobs")] = _limit_or_none(
        "how many jobs may be submitting, unknown or generating at once",
        {"type": "integer", "minimum": 1, "maximum": JOBS_MAX},
    )
    max_queued_jobs: Annotated[int | None, _check("max_queued_jobs")] = _limit_or_none(
        "how many jobs may be queued, scheduled ones included",
        {"type": "integer", "minimum": 0, "maximum": JOBS_MAX},
    )
    max_credits_per_day: Annotated[float | None, _check("max_credits_per_day")] = _limit_or_none(
        "what the jobs placed in one day (UTC) may hold and cost",
        {"type": "number", "minimum": 0, "maximum": CREDITS_PER_DAY_MAX},
    )
    max_priority: Annotated[Priority, _check("max_priority")] = Field(
        default="high", description="the highest priority that its service keys may ask for"
    )
    reason: Annotated[
        str | None,
        BeforeValidator(lambda value: None if value is None else check_reason(value)),
    ] = Field(
        default=None,
        description="why, for the audit entry",
        json_schema_extra={
            "anyOf": [
                {"type": "string", "maxLength": MAX_REASON_LENGTH, **REASON_SCHEMA},
                {"type": "null"},
            ]
        },
    )

    def limits(self) -> AccountLimits:
        """Return the limits that the body names."""
        named: AccountLimits = self.model_dump(include=self.model_fields_set & set(LIMIT_NAMES))  # type: ignore[assignment]
        return named
