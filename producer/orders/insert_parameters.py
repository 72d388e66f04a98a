"""Parameters of the enqueue statement for an order, and the job from its result.

The enqueue statement returns only what Postgres decides: price, priority and creation time. The
other fields of the job are copied from the order, which avoids parsing the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from uuid_utils.compat import uuid7

from producer.orders.order import Order
from shared.adapters.postgres.job_rows import read_json_object
from shared.domain.job import FROM_ORDER, Job, PublicJobFields, replace_fields

_FIRST_STATE: Mapping[str, Any] = {
    one.name: one.metadata["first"]
    for one in fields(PublicJobFields)
    if one.metadata["first"] is not FROM_ORDER
}
"""The fields of a job that change after its insertion and that callers see, as inserted."""


@dataclass(slots=True)
class PreparedOrder:
    """An order with the id and the JSON texts that are stored for it."""

    id: UUID
    order: Order
    request: Mapping[str, Any]
    request_text: str
    metadata_text: str


def prepare_order(order: Order) -> PreparedOrder:
    """Return the order with a new id and its JSON texts."""
    given = order.request.model_dump(mode="json")
    # Order the fields like jsonb does, so that a replayed response is equal to the first one.
    request = {name: given[name] for name in sorted(given, key=lambda name: (len(name), name))}
    return PreparedOrder(
        id=uuid7(),
        order=order,
        request=request,
        request_text=orjson.dumps(request).decode(),
        metadata_text=orjson.dumps(dict(order.metadata)).decode(),
    )


def insert_parameters(prepared: PreparedOrder) -> tuple[object, ...]:
    """Return the parameters of the query `enqueue_job`, in their order."""
    order = prepared.order
    request = order.request
    return (
        prepared.id,
        order.account_id,
        request.model,
        request.task,
        request.price_quantity,
        prepared.request_text,
        order.idempotency_key,
        prepared.metadata_text,
        order.webhook_url,
        order.priority,
        order.run_at,
        order.retry_of,
        request.price_variant,
        order.priority_limit,
    )


def build_inserted_job(prepared: PreparedOrder, row: asyncpg.Record) -> Job:
    """Return the stored job. It equals the job that a read of its row would return."""
    order = prepared.order
    created_at = row["created_at"]
    run_at = order.run_at.astimezone(UTC) if order.run_at is not None else created_at
    return Job(
        id=prepared.id,
        account_id=order.account_id,
        model=order.request.model,
        task=order.request.task,
        variant=order.request.price_variant,
        request=prepared.request,
        credits_quoted=row["credits_quoted"],
        created_at=created_at,
        # As stored, because jsonb reorders fields and rewrites numbers.
        metadata=read_json_object(row["metadata"], row["id"])
        if row["metadata"] is not None
        else {},
        priority=row["priority"],
        run_at=run_at,
        quantity=order.request.price_quantity,
        # A `run_at` in the past does not move the job ahead of older jobs.
        due_at=max(run_at, created_at),
        deadline_at=None,
        attempted_at=None,
        idempotency_key=order.idempotency_key,
        price_id=row["price_id"],
        webhook_url=order.webhook_url,
        retry_of=order.retry_of,
        **_FIRST_STATE,
    )


def restore_first_state(job: Job) -> Job:
    """Return the job as it was when it was inserted."""
    return replace_fields(job, **_FIRST_STATE)
