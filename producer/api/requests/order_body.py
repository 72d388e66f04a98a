"""Parses request bodies into orders, with the models of the Python client.

An error lists every fault of a body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from producer.files.local_images import RequestImages, find_local_images
from producer.orders.field_limits import DEFAULT_MODEL
from producer.orders.order import Order
from producer.orders.order_fields import ORDER_FIELD_NAMES, FindUrlFault, find_order_faults
from shared.catalog import ImageRequest, get_family
from shared.errors import FAULTS_MAX, Fault, InvalidRequest
from shared.field_faults import format_value

MAX_BATCH_JOBS = 1_000
FIELDS_MAX = 100
"""The most fields of a body. The error lists every unknown field, so their number is bounded."""
_RFC3339_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)

_KEY_FIELD = re.compile(r"(x[-_])?(idempotency|idempotence|idempotent)[-_]?key")


@dataclass(frozen=True, slots=True)
class GivenOrder:
    """An order of a body, which was checked with stand-ins for the images that it contains."""

    order: Order
    given: RequestImages
    prefix: str = ""
    """What precedes the fields in faults, such as `jobs.3.`."""

    def with_urls(self, urls: Mapping[str, str]) -> Order:
        """Return the order with the URLs of its uploaded images, by their fields."""
        if not urls:
            return self.order
        fields = self.given.with_urls(urls)
        return parse_order(fields, self.order.account_id, self.order.idempotency_key)


def parse_order_with_images(
    body: Mapping[str, Any],
    account_id: str | None,
    idempotency_key: str | None,
    find_destination_fault: FindUrlFault | None = None,
) -> GivenOrder:
    """Return the order of a body that may contain `data:` URLs. See `parse_order`."""
    given = find_local_images(body, allow_paths=False)
    order = parse_order(given.checkable, account_id, idempotency_key, find_destination_fault)
    return GivenOrder(order, given)


def parse_order(
    body: Mapping[str, Any],
    account_id: str | None,
    idempotency_key: str | None,
    find_destination_fault: FindUrlFault | None = None,
) -> Order:
    """Return the order of a body. `account_id` is that of a service key, or None for other keys.

    It is used if the body has none, and its `max_priority` then limits the priority. Raises
    `InvalidRequest` with every fault, that of `find_destination_fault` included.
    """
    require_few_fields(body)
    fields = dict(body)
    model, task = fields.pop("model", DEFAULT_MODEL), fields.pop("task", None)
    order_fields = {name: fields.pop(name) for name in ORDER_FIELD_NAMES if name in fields}
    order_fields["idempotency_key"] = idempotency_key
    if account_id is not None:
        order_fields.setdefault("account_id", account_id)
    if isinstance(order_fields.get("run_at"), str):
        order_fields["run_at"] = parse_rfc3339(order_fields["run_at"])
    faults = pop_key_faults(fields)
    try:
        request = _read_request(model, task, fields)
    except InvalidRequest as refused:
        faults += refused.faults
    is_sent = order_fields.get("webhook_url") is not None and find_destination_fault is not None
    if faults or is_sent or "account_id" not in order_fields:
        faults = [*find_order_faults(order_fields, find_destination_fault), *faults]
        if faults:
            raise InvalidRequest(faults)
    if account_id is not None:
        order_fields["priority_limit"] = "refuse" if "priority" in order_fields else "lower"
    return Order(request=request, **order_fields)


def pop_key_faults(fields: dict[str, Any]) -> list[Fault]:
    """Remove fields that are meant as the idempotency key, and return a fault for each."""
    names = [name for name in fields if _KEY_FIELD.fullmatch(name[:40].lower())]
    for name in names:
        del fields[name]
    return [
        Fault(name, "is no field of a body: send it in the header Idempotency-Key")
        for name in names
    ]


def require_few_fields(body: Mapping[str, Any]) -> None:
    """Raise `InvalidRequest` for a body with more than `FIELDS_MAX` fields."""
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


def parse_rfc3339(text: str) -> datetime | str:
    """Return the RFC 3339 time of the text. Text of another form is returned unchanged.

    The check of its field then refuses it.
    """
    if not _RFC3339_TIME.fullmatch(text):
        return text
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        return text


def parse_batch(
    body: Mapping[str, Any],
    account_id: str | None,
    key: str | None,
    find_destination_fault: FindUrlFault | None = None,
) -> list[GivenOrder]:
    """Return the orders of a batch. The field of each fault begins with `jobs.<index>`.

    The key of job `<index>` is `<key>/<index>`.
    """
    require_few_fields(body)
    jobs = body.get("jobs")
    others = {name: value for name, value in body.items() if name != "jobs"}
    faults = pop_key_faults(others)
    faults += [Fault(name, "is not a field of a batch; allowed: jobs") for name in others]
    if not isinstance(jobs, list) or not 1 <= len(jobs) <= MAX_BATCH_JOBS:
        faults.append(
            Fault("jobs", f"{format_value(jobs)} must be a list of 1 to {MAX_BATCH_JOBS:,} jobs")
        )
        raise InvalidRequest(faults)
    orders: list[GivenOrder] = []
    for index, one in enumerate(jobs):
        try:
            if not isinstance(one, dict):
                raise InvalidRequest([Fault("", f"must be an object, not {format_value(one)}")])
            own_key = f"{key}/{index}" if key else None
            parsed = parse_order_with_images(one, account_id, own_key, find_destination_fault)
            orders.append(replace(parsed, prefix=f"jobs.{index}."))
        except InvalidRequest as refused:
            faults += [_prefix_fault(index, fault) for fault in refused.faults]
        if len(faults) > FAULTS_MAX:
            break
    if faults:
        raise InvalidRequest(faults)
    return orders


def _prefix_fault(index: int, fault: Fault) -> Fault:
    return Fault(f"jobs.{index}.{fault.field}".rstrip("."), fault.message)
