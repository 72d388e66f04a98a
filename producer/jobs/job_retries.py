"""The order that repeats the request of an ended job. A job is retried once."""

from __future__ import annotations

from producer.orders.order import Order
from shared.catalog import get_family
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import Fault, StateConflict
from shared.job_json import credits_to_json, timestamp_to_json


def check_retry(first: Job, *, again: bool) -> StateConflict | None:
    """Return why the job cannot be retried.

    It is open, or its request was pruned, or it succeeded and `again` is false.
    """
    if first.pruned_at is not None:
        fault = Fault(
            "id",
            f"job {first.id} cannot be retried: its request was pruned at"
            f" {timestamp_to_json(first.pruned_at)}; enqueue the request as a new job",
        )
        return StateConflict([fault])
    if not first.is_terminal:
        fault = Fault("id", f"job {first.id} is {first.state}: only an ended job is retried")
        return StateConflict([fault])
    if first.state is JobState.SUCCEEDED and not again:
        credits = "credit was" if first.credits_charged == 1 else "credits were"
        sentence = (
            f"job {first.id} succeeded, and {credits_to_json(first.credits_charged)} {credits}"
            " charged: a retry is charged as well; say again (--again on the command line) if it is"
            " meant"
        )
        return StateConflict([Fault("again", sentence)])
    return None


def build_retry_order(first: Job, *, again: bool) -> Order:
    """Return the order that repeats the request of `first`, for its account at the current price.

    Raises `StateConflict` if the job is open or pruned, or if it succeeded and `again` is false,
    and `InvalidRequest` if its request is no longer valid.
    """
    conflict = check_retry(first, again=again)
    if conflict is not None:
        raise conflict
    return Order(
        request=get_family(first.model).validate(first.task, first.request),
        account_id=first.account_id,
        metadata=first.metadata,
        webhook_url=first.webhook_url,
        priority=first.priority,
        retry_of=first.id,
    )
