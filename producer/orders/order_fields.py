"""The fields of an order beside its request: account, key, metadata, webhook, priority, run_at.

One model checks them for the Python client and for HTTP, and describes them in the OpenAPI
document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from producer.orders.field_limits import ACCOUNT_LENGTH, KEY_LENGTH, RUN_AT_DAYS
from shared.domain.job import Priority
from shared.errors import Fault
from shared.field_faults import FieldRules, format_value, list_field_faults
from shared.stored_json import MAX_JSON_DEPTH, exceeds_depth
from shared.text_and_url_checks import URL_LENGTH_MAX, has_lone_surrogate, optional
from shared.utc_times import UTC_YEARS, has_utc_time

METADATA_BYTES = 16 * 1024
METADATA_STORED_BYTES = 32 * 1024
"""Twice the limit of the given JSON, because numbers with exponents are stored in full. The
database refuses more than 64 KiB."""
_ACCOUNT_ID = re.compile(rf"[^\x00-\x20\x7f-\x9f\s]{{1,{ACCOUNT_LENGTH}}}")
_STRING_OR_EXPONENT = re.compile(rb'"(?:[^"\\]|\\.)*"|[0-9][eE]([+-]?[0-9]+)')
_EXPONENT = re.compile(rb"[0-9][eE][+-]?[0-9]")
ACCOUNT_SCHEMA: dict[str, Any] = {
    "minLength": 1,
    "maxLength": ACCOUNT_LENGTH,
    "pattern": r"^[^\x00-\x20\x7f-\x9f\s]+$",
}
# After an even number of backslashes this is NUL. After an odd number it is plain text.
_NUL_IN_JSON = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def stored_length(text: bytes) -> int:
    """Return the length of JSON text as Postgres stores it, without spaces between its parts.

    jsonb writes all digits of a number: `1e308` becomes 309 digits, `1e-308` becomes 310
    characters. The result is an upper bound.
    """
    if not _EXPONENT.search(text):
        return len(text)
    exponents = (found[1] for found in _STRING_OR_EXPONENT.finditer(text))
    return len(text) + sum(abs(int(one)) for one in exponents if one is not None)


def check_account(value: object) -> object:
    """Return the id of an account. Raises `ValueError` if no account can have it."""
    if isinstance(value, str) and _ACCOUNT_ID.fullmatch(value) and not has_lone_surrogate(value):
        return value
    raise ValueError(
        f"{format_value(value)} must be 1 to {ACCOUNT_LENGTH} printable characters, no spaces"
    )


def _check_key(value: object) -> object:
    if isinstance(value, str) and 1 <= len(value) <= KEY_LENGTH and value.isprintable():
        return value
    raise ValueError(f"must be 1 to {KEY_LENGTH} printable characters")


def _check_metadata(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a JSON object, not {format_value(value)}")
    try:
        text = orjson.dumps(dict(value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"must be a JSON object: {error}") from None
    if text.count(b"[") + text.count(b"{") > MAX_JSON_DEPTH and exceeds_depth(
        orjson.loads(text), MAX_JSON_DEPTH
    ):
        # Check the nesting of the JSON text, because dataclasses and tuples become nested too.
        raise ValueError(f"is nested deeper than {MAX_JSON_DEPTH} levels")
    if len(text) > METADATA_BYTES:
        raise ValueError(f"is {len(text)} bytes of JSON; at most {METADATA_BYTES} are allowed")
    length = stored_length(text)
    if length > METADATA_STORED_BYTES:
        raise ValueError(
            f"becomes {length} bytes where it is stored, as its numbers are written digit by digit;"
            f" at most {METADATA_STORED_BYTES} are allowed"
        )
    if _NUL_IN_JSON.search(text):
        raise ValueError("must not contain the character NUL")
    return value


def _check_webhook(value: object) -> object:
    if isinstance(value, str) and value.isprintable() and len(value) <= URL_LENGTH_MAX:
        with suppress(ValueError):
            parts = urlsplit(value)
            if parts.scheme in {"http", "https"} and parts.hostname:
                return value
    raise ValueError(
        f"{format_value(value)} must be an http:// or https:// URL of at most"
        f" {URL_LENGTH_MAX} characters"
    )


def _check_priority(value: object) -> object:
    allowed = get_args(Priority)
    if value in allowed:
        return value
    raise ValueError(f"{format_value(value)} must be one of {', '.join(allowed)}")


def _check_run_at(value: object) -> object:
    if isinstance(value, datetime) and value.tzinfo is not None:
        shown = repr(value.isoformat())
        if not has_utc_time(value):
            raise ValueError(
                f"{shown} must be {UTC_YEARS}, and at most {RUN_AT_DAYS} days from now"
            )
        if value > datetime.now(UTC) + timedelta(days=RUN_AT_DAYS):
            raise ValueError(f"{shown} must be at most {RUN_AT_DAYS} days from now")
        return value
    given = value.isoformat() if isinstance(value, datetime) else value
    raise ValueError(f"{format_value(given)} must be a time with its timezone")


class OrderFields(BaseModel):
    """The order fields with their limits and descriptions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    account_id: Annotated[str, BeforeValidator(check_account)] = Field(
        description="who pays; the account must exist",
        json_schema_extra=ACCOUNT_SCHEMA,
    )
    idempotency_key: Annotated[str | None, optional(_check_key)] = Field(
        default=None,
        description="the same key of the same account is the same job",
        max_length=KEY_LENGTH,
    )
    metadata: Annotated[Mapping[str, Any], BeforeValidator(_check_metadata)] = Field(
        default_factory=dict,
        description="your own notes, given back as they are; at most 16 KiB of JSON",
    )
    webhook_url: Annotated[str | None, optional(_check_webhook)] = Field(
        default=None,
        description="receives a signed POST when the job ends; a public http:// or https:// URL",
        max_length=URL_LENGTH_MAX,
        json_schema_extra={"format": "public-url"},
    )
    priority: Annotated[Priority, BeforeValidator(_check_priority)] = Field(
        default="normal", description="high, normal or low"
    )
    run_at: Annotated[datetime | None, optional(_check_run_at)] = Field(
        default=None,
        description="the earliest time to run the job, with its timezone, at most 366 days from"
        " now; null: now",
    )


ORDER_FIELD_NAMES = tuple(name for name in OrderFields.model_fields if name != "idempotency_key")
"""The order fields of a job's body. HTTP takes the idempotency key from a header."""

_GUIDE = FieldRules(
    "an order",
    {name: info.description or "" for name, info in OrderFields.model_fields.items()},
    {},
    {},
)


FindUrlFault = Callable[[str], str | None]
"""Returns a sentence about a webhook URL to which nothing may be sent, or None."""


def find_order_faults(
    fields: Mapping[str, object], find_destination_fault: FindUrlFault | None = None
) -> list[Fault]:
    """Return every fault of these fields, or an empty list.

    With `find_destination_fault`, also whether webhooks may be sent to the URL.
    """
    faults: list[Fault] = []
    try:
        OrderFields.model_validate(fields)
    except ValidationError as error:
        faults = list_field_faults(error, _GUIDE)
    url = fields.get("webhook_url")
    is_refused = any(fault.field == "webhook_url" for fault in faults)
    if find_destination_fault is not None and isinstance(url, str) and not is_refused:
        sentence = find_destination_fault(url)
        faults += [Fault("webhook_url", sentence)] if sentence is not None else []
    return faults
