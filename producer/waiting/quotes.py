"""The expected wait of an order that is not placed."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, get_args

from producer.accounts.account import Account
from producer.accounts.limit_errors import PriorityNotAllowed
from producer.billing import Quote
from producer.orders.order import Order
from producer.row_json import row_to_json
from producer.waiting.wait_estimates import WaitEstimates
from shared.catalog import ImageRequest
from shared.domain.job import Priority


async def quote_order(
    quote: Quote, order: Order, account: Account, waiting: WaitEstimates
) -> Quote:
    """Return the quote with what the account has available, and when the job would be submitted."""
    priority = _allowed_priority(order, account)
    at, wait = await waiting.expect(
        account.id, priority, float(account.weight), order.request.model, order.run_at
    )
    seconds = None if wait.start_at is None else max((wait.start_at - at).total_seconds(), 0.0)
    return replace(
        quote,
        account_id=account.id,
        priority=priority,
        available=account.available,
        position=wait.position,
        estimated_start_at=wait.start_at,
        expected_wait_seconds=seconds,
        wait_reason=wait.wait_reason,
    )


def _allowed_priority(order: Order, account: Account) -> Priority:
    """Return the priority that the job would have. Raises `PriorityNotAllowed`."""
    ranks: tuple[Priority, ...] = get_args(Priority)
    if order.priority_limit is None or ranks.index(order.priority) >= ranks.index(
        account.max_priority
    ):
        return order.priority
    if order.priority_limit == "refuse":
        raise PriorityNotAllowed(account.id, asked=order.priority, allowed=account.max_priority)
    return account.max_priority


def quote_to_json(quote: Quote, request: ImageRequest) -> dict[str, Any]:
    """Return the quote of a request as a JSON object."""
    return {
        "model": request.model,
        "task": request.task,
        "quantity": request.price_quantity,
        **row_to_json(asdict(quote)),
    }
