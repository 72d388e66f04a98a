"""The bodies of price changes and grants, which only admins send."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    ValidationError,
)

from producer.actor import MAX_REASON_LENGTH
from producer.api.requests.order_body import pop_key_faults, require_few_fields
from producer.list_pages import MAX_ROW_ID
from producer.money.price_key import VARIANT_MAX
from producer.orders.field_limits import DEFAULT_MODEL
from producer.orders.order_fields import ACCOUNT_SCHEMA, check_account
from producer.plain_numbers import CREDITS_MAX
from shared.errors import InvalidRequest
from shared.field_faults import FieldRules, format_value, list_field_faults
from shared.text_and_url_checks import has_lone_surrogate
from shared.utc_times import UTC_YEARS, has_utc_time


def _check_grant(value: object) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and 0 < abs(value) <= CREDITS_MAX and round(value, 2) == value:  # type: ignore[arg-type, call-overload]
        return value
    raise ValueError(
        f"{format_value(value)} must be a number from -{CREDITS_MAX:,} to {CREDITS_MAX:,}, not 0,"
        " with at most 2 decimals"
    )


_UNREADABLE = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069"
"""Control characters but tabs and line breaks, and what turns the text after it around. Postgres
refuses them in a reason too: `darkroom_readable_reason`."""
_UNSEEN = (
    r"\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065"
    r"\u206a-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
"""Spaces, and characters that show nothing."""
REASON_SCHEMA: dict[str, Any] = {
    "minLength": 1,
    "pattern": f"^[^{_UNREADABLE}]*[^{_UNREADABLE}{_UNSEEN}][^{_UNREADABLE}]*$",
}
"""What a reason is: text with something that can be seen."""


def check_reason(value: object) -> object:
    """Return the reason of an act.

    Raises `ValueError` if it is not text of the allowed length that is read as it is stored.
    """
    if isinstance(value, str) and len(value) <= MAX_REASON_LENGTH:
        if re.search(REASON_SCHEMA["pattern"], value):
            return value
        if turning := re.search(f"[{_UNREADABLE}]", value):
            raise ValueError(
                f"{format_value(value)} has the character U+{ord(turning[0]):04X}, which changes"
                " how others are shown: leave it out"
            )
    raise ValueError(
        f"{format_value(value)} must be text of 1 to {MAX_REASON_LENGTH} characters: why the"
        " change is made"
    )


def _check_time(value: datetime) -> datetime:
    if has_utc_time(value):
        return value
    raise ValueError(f"{value.isoformat()!r} must be {UTC_YEARS}, and within the next two years")


def _check_storable(value: str) -> str:
    if "\0" in value or has_lone_surrogate(value):
        raise ValueError(f"{format_value(value)} has a character that cannot be stored")
    return value


Reason = Annotated[
    str,
    BeforeValidator(check_reason),
    Field(max_length=MAX_REASON_LENGTH, json_schema_extra=REASON_SCHEMA),
]


_Name = Annotated[
    str,
    Field(min_length=1, max_length=200, json_schema_extra={"pattern": r"^[^\x00]*$"}),
    AfterValidator(_check_storable),
]


_Variant = Annotated[
    str,
    Field(max_length=VARIANT_MAX, json_schema_extra={"pattern": r"^[^\x00]*$"}),
    AfterValidator(_check_storable),
]


def _check_price(value: object) -> object:
    """Credits of a price: 2 decimals at most, and nothing is rounded."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and 0 <= value <= CREDITS_MAX and round(value, 2) == value:  # type: ignore[operator, call-overload]
        return value
    raise ValueError(
        f"{format_value(value)} must be a number from 0 to {CREDITS_MAX:,} with at most 2 decimals"
    )


def _check_optional_price(value: object) -> object:
    return None if value is None else _check_price(value)


def _check_refund(value: object) -> object:
    if value == 0 and not isinstance(value, bool):
        raise ValueError(f"{format_value(value)} must be above 0; absent: the whole charge")
    return _check_optional_price(value)


_PRICE_SCHEMA: dict[str, Any] = {"minimum": 0, "maximum": CREDITS_MAX, "multipleOf": 0.01}
_Price = Annotated[float, BeforeValidator(_check_price)]
_OptionalPrice = Annotated[float | None, BeforeValidator(_check_optional_price)]
_PROVIDER_CREDITS = Field(
    default=None,
    description="what Kie charges for it; absent or null: as before",
    json_schema_extra={
        "anyOf": [{"type": "number", **_PRICE_SCHEMA}, {"type": "null"}],
    },
)
_CONFIRM = Field(
    default=False,
    description="confirms a change that looks like a typing error, by more than 5 times",
)


class NewAccount(BaseModel):
    """The account to create."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"id": "acme", "credits": 100}]}
    )

    id: Annotated[str, BeforeValidator(check_account)] = Field(
        description="its name, by which services enqueue", json_schema_extra=ACCOUNT_SCHEMA
    )
    credits: _Price = Field(
        default=0, description="granted at once", json_schema_extra=_PRICE_SCHEMA
    )


class PriceChange(BaseModel):
    """What a price becomes, and why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"credits": 9, "reason": "Kie raised it"}]}
    )

    credits: _Price = Field(
        description="what the account is charged for the whole job, from the next settlement",
        json_schema_extra=_PRICE_SCHEMA,
    )
    provider_credits: _OptionalPrice = _PROVIDER_CREDITS
    reason: Reason = Field(description="why, for the history")
    confirm: StrictBool = _CONFIRM
    price_id: StrictInt | None = Field(
        default=None,
        description="the version that was read; another one in force is refused; absent: any",
        ge=1,
        le=MAX_ROW_ID,
    )


class ScheduledPriceOrder(BaseModel):
    """What a price becomes at a time, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "model": DEFAULT_MODEL,
                    "task": "text-to-image",
                    "quantity": 2,
                    "credits": 9,
                    "takes_effect_at": "2027-12-31T00:00:00Z",
                    "reason": "Kie raises it",
                }
            ]
        },
    )

    model: _Name = Field(description="as in the list of prices")
    task: _Name = Field(description="as in the list of prices")
    quantity: StrictInt = Field(description="as in the list of prices", ge=1, le=999_999_999)
    variant: _Variant = Field(
        default="", description="as in the list of prices; empty: the price has none"
    )
    credits: _Price = Field(
        description="what the account is charged for the whole job from then on",
        json_schema_extra=_PRICE_SCHEMA,
    )
    provider_credits: _OptionalPrice = _PROVIDER_CREDITS
    takes_effect_at: Annotated[AwareDatetime, AfterValidator(_check_time)] = Field(
        description="a time of the next two years"
    )
    reason: Reason = Field(description="why, for the history")
    confirm: StrictBool = _CONFIRM


class Refund(BaseModel):
    """The reason of a refund, and the refunded credits."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "blurred images"}]}
    )

    credits: Annotated[float | None, BeforeValidator(_check_refund)] = Field(
        default=None,
        description="at most the charge; absent or null: all of it",
        json_schema_extra={
            "anyOf": [{"type": "number", **_PRICE_SCHEMA, "minimum": 0.01}, {"type": "null"}]
        },
    )
    reason: Reason = Field(description="why, for the ledger")


class Erasure(BaseModel):
    """Why the prompts of an account are erased."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the customer's demand"}]}
    )

    reason: Reason = Field(description="why, for the audit")


class Grant(BaseModel):
    """Credits for an account, and why; negative ones are an adjustment."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"credits": 100, "reason": "invoice 17"}]}
    )

    credits: Annotated[float, BeforeValidator(_check_grant)] = Field(
        description="the number of credits, not 0; a negative number takes credits away",
        json_schema_extra={
            "minimum": -CREDITS_MAX,
            "maximum": CREDITS_MAX,
            "multipleOf": 0.01,
            "not": {"const": 0},
        },
    )
    reason: Reason = Field(description="why, for the ledger")
    allow_debt: StrictBool = Field(
        default=False,
        description="whether credits below 0 may take more than is available; refused without",
    )


_Body = TypeVar("_Body", bound=BaseModel)


def parse_admin_body(
    kind: type[_Body], body: Mapping[str, Any], *, key_is_header: bool = False
) -> _Body:
    """Return the body as a model of this kind, or raise `InvalidRequest` with every fault.

    `key_is_header` says that the route takes an idempotency key in a header.
    """
    require_few_fields(body)
    values = dict(body)
    key_faults = pop_key_faults(values) if key_is_header else []
    allowed = {name: info.description or "" for name, info in kind.model_fields.items()}
    try:
        parsed = kind.model_validate(values)
    except ValidationError as error:
        guide = FieldRules("this body", allowed, {}, {})
        raise InvalidRequest([*key_faults, *list_field_faults(error, guide)]) from None
    if key_faults:
        raise InvalidRequest(key_faults)
    return parsed
