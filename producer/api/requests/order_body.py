"""Reads bodies into orders, by the models of the Python client; every fault is told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
)

from producer.orders.order import Order
from producer.orders.order_fields import find_order_faults
from shared.catalog import ImageRequest, get_family
from shared.errors import FAULTS_MAX, Fault, InvalidRequest
from shared.field_faults import FieldRules, format_value, list_field_faults

DEFAULT_MODEL = "gpt-4o-image"
MAX_BATCH_JOBS = 1_000
FIELDS_MAX = 100
"""More than any body has. Each one that is not known would be named in the refusal."""
ORDER_FIELD_NAMES = ("account_id", "metadata", "webhook_url", "priority", "run_at")
"""The fields of a job's body that are neither `model`, `task` nor the model's own."""
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def parse_order(
    body: Mapping[str, Any], account_id: str | None, idempotency_key: str | None
) -> Order:
    """Return the order that a body asks for; `account_id` stands where the body names none.

    Raises `InvalidRequest` with every fault of it.
    """
    _require_few_fields(body)
    fields = dict(body)
    model, task = fields.pop("model", DEFAULT_MODEL), fields.pop("task", None)
    order_fields = {name: fields.pop(name) for name in ORDER_FIELD_NAMES if name in fields}
    order_fields["idempotency_key"] = idempotency_key
    if account_id is not None:
        order_fields.setdefault("account_id", account_id)
    if isinstance(order_fields.get("run_at"), str):
        order_fields["run_at"] = _parse_time(order_fields["run_at"])
    faults: list[Fault] = []
    try:
        request = _read_request(model, task, fields)
    except InvalidRequest as refused:
        faults += refused.faults
    if faults or "account_id" not in order_fields:
        raise InvalidRequest([*find_order_faults(order_fields), *faults])
    return Order(request=request, **order_fields)


def _require_few_fields(body: Mapping[str, Any]) -> None:
    if len(body) > FIELDS_MAX:
        raise InvalidRequest(
            [Fault("", f"has {len(body):,} fields; at most {FIELDS_MAX} are read")]
        )


def _read_request(model: object, task: object, fields: Mapping[str, Any]) -> ImageRequest:
    if not isinstance(model, str):
        raise InvalidRequest([Fault("model", f"{format_value(model)} must be the name of a model")])
    one = get_family(model)
    if task is None:
        known = ", ".join(repr(name) for name in sorted(one.tasks))
        raise InvalidRequest([Fault("task", f"is required: one of {known}")])
    return one.validate(task, fields)


def _parse_time(text: str) -> datetime | str:
    """Return the moment of RFC 3339 that the text names, or the text, for the check to refuse."""
    if not _MOMENT.fullmatch(text):
        return text
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        return text


def parse_batch(body: Mapping[str, Any], account_id: str | None, key: str | None) -> list[Order]:
    """Return the orders of a batch; each fault's field begins with `jobs.<index>`.

    The key of the whole batch becomes one key per job: `<key>/<index>`.
    """
    _require_few_fields(body)
    jobs = body.get("jobs")
    faults = [
        Fault(name, "is not a field of a batch; allowed: jobs") for name in body.keys() - {"jobs"}
    ]
    if not isinstance(jobs, list) or not 1 <= len(jobs) <= MAX_BATCH_JOBS:
        faults.append(
            Fault("jobs", f"{format_value(jobs)} must be a list of 1 to {MAX_BATCH_JOBS:,} jobs")
        )
        raise InvalidRequest(faults)
    orders: list[Order] = []
    for index, one in enumerate(jobs):
        try:
            if not isinstance(one, dict):
                raise InvalidRequest([Fault("", f"must be an object, not {format_value(one)}")])
            orders.append(parse_order(one, account_id, f"{key}/{index}" if key else None))
        except InvalidRequest as refused:
            faults += [_prefix_fault(index, fault) for fault in refused.faults]
        if len(faults) > FAULTS_MAX:
            break
    if faults:
        raise InvalidRequest(faults)
    return orders


def _prefix_fault(index: int, fault: Fault) -> Fault:
    return Fault(f"jobs.{index}.{fault.field}".rstrip("."), fault.message)


# --- the admin's bodies ---------------------------------------------------------------------

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
    if isinstance(value, str) and value.strip() and len(value) <= 500 and "\0" not in value:
        return value
    raise ValueError(
        f"{format_value(value)} must be text of 1 to 500 characters: why the change is made"
    )


# What the checks say, for the OpenAPI document.
_TEXT_RULE: dict[str, Any] = {"minLength": 1, "pattern": r"^[^\x00]*[^\s\x00][^\x00]*$"}
_Reason = Annotated[
    str, BeforeValidator(_check_reason), Field(max_length=500, json_schema_extra=_TEXT_RULE)
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
    reason: _Reason = Field(description="why, for the history")


class Grant(BaseModel):
    """Credits for an account, and why; negative ones are an adjustment."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"credits": 100, "reason": "invoice 17"}]}
    )

    credits: Annotated[float, _check_credits(-CREDITS_MAX, may_be_none=False)] = Field(
        description="how many, not 0; below 0 takes them away",
        json_schema_extra={
            "minimum": -CREDITS_MAX,
            "maximum": CREDITS_MAX,
            "not": {"const": 0},
        },
    )
    reason: _Reason = Field(description="why, for the ledger")
    allow_debt: StrictBool = Field(
        default=False,
        description="whether credits below 0 may take more than is available; refused without",
    )


_Body = TypeVar("_Body", bound=BaseModel)


def parse_admin_body(kind: type[_Body], body: Mapping[str, Any]) -> _Body:
    """Return the body as that model, or raise `InvalidRequest` with every fault."""
    _require_few_fields(body)
    allowed = {name: info.description or "" for name, info in kind.model_fields.items()}
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        guide = FieldRules("this body", allowed, {}, {})
        raise InvalidRequest(list_field_faults(error, guide)) from None
