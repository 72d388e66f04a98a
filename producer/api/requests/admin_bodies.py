"""The bodies of price changes and grants, which only admins send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
)

from producer.actor import MAX_REASON_LENGTH
from producer.api.requests.order_body import require_few_fields
from shared.errors import InvalidRequest
from shared.field_faults import FieldRules, format_value, list_field_faults
from shared.request_fields import NON_BLANK_TEXT_SCHEMA

CREDITS_MAX = 1_000_000


def _check_credits(lowest: int, *, may_be_none: bool) -> BeforeValidator:
    but = "" if may_be_none else ", not 0"

    def check(value: object) -> object:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and lowest <= value <= CREDITS_MAX and (value or may_be_none):  # type: ignore[operator]
            return value
        wanted = f"must be a number from {lowest:,} to {CREDITS_MAX:,}{but}"
        raise ValueError(f"{format_value(value)} {wanted}")

    return BeforeValidator(check)


def _check_reason(value: object) -> object:
    if (
        isinstance(value, str)
        and value.strip()
        and len(value) <= MAX_REASON_LENGTH
        and "\0" not in value
    ):
        return value
    raise ValueError(
        f"{format_value(value)} must be text of 1 to {MAX_REASON_LENGTH} characters: why the"
        " change is made"
    )


Reason = Annotated[
    str,
    BeforeValidator(_check_reason),
    Field(max_length=MAX_REASON_LENGTH, json_schema_extra=NON_BLANK_TEXT_SCHEMA),
]


class PriceChange(BaseModel):
    """What a price becomes, and why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"credits": 9, "reason": "Kie raised it"}]}
    )

    credits: Annotated[float, _check_credits(0, may_be_none=True)] = Field(
        description="what the account is charged for the whole job, from the next settlement",
        json_schema_extra={"minimum": 0, "maximum": CREDITS_MAX},
    )
    reason: Reason = Field(description="why, for the history")


class Grant(BaseModel):
    """Credits for an account, and why; negative ones are an adjustment."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"credits": 100, "reason": "invoice 17"}]}
    )

    credits: Annotated[float, _check_credits(-CREDITS_MAX, may_be_none=False)] = Field(
        description="the number of credits, not 0; a negative number takes credits away",
        json_schema_extra={
            "minimum": -CREDITS_MAX,
            "maximum": CREDITS_MAX,
            "not": {"const": 0},
        },
    )
    reason: Reason = Field(description="why, for the ledger")
    allow_debt: StrictBool = Field(
        default=False,
        description="whether credits below 0 may take more than is available; refused without",
    )


_Body = TypeVar("_Body", bound=BaseModel)


def parse_admin_body(kind: type[_Body], body: Mapping[str, Any]) -> _Body:
    """Return the body as a model of this kind, or raise `InvalidRequest` with every fault."""
    require_few_fields(body)
    allowed = {name: info.description or "" for name, info in kind.model_fields.items()}
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        guide = FieldRules("this body", allowed, {}, {})
        raise InvalidRequest(list_field_faults(error, guide)) from None
