"""Enqueues many independent orders: as many of each account as its credits and limits allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from producer.accounts.limit_errors import DailyLimitReached, QueueLimitReached
from producer.actor import Actor
from producer.jobs.job_repository import EnqueueResult, JobRepository
from producer.money.price_key import PriceKey
from producer.orders.order import Order
from producer.orders.order_enqueuer import OrderEnqueuer
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.row_dicts import as_dicts
from shared.errors import DarkroomError, InsufficientCredits, RequestRefused, RowBusy

ORDERS_PER_STATEMENT = 100
"""A statement holds the lock of its account until its commit, so it has few orders."""
_TRIES = 5
"""How often an account is tried: its credits and two limits may each refuse some of the orders, and
other orders use them meanwhile."""

OrderOutcome = tuple[Order, EnqueueResult | DarkroomError]
_Shortage = InsufficientCredits | QueueLimitReached | DailyLimitReached


class BulkOrders:
    """Enqueues many orders, each with its own outcome."""

    def __init__(self, database: Database, enqueuer: OrderEnqueuer) -> None:
        self._database = database
        self._enqueuer = enqueuer

    async def enqueue(
        self, orders: Sequence[Order], actor: Actor | str | None
    ) -> list[OrderOutcome]:
        """Enqueue the orders, those of an account together. Return the outcome of each.

        Raises `PostgresDown`. Some of the orders may be stored then.
        """
        by_account: dict[str, list[Order]] = {}
        outcomes: list[OrderOutcome] = []
        for order in orders:
            try:
                self._enqueuer.check_destinations([order])
            except RequestRefused as refused:
                outcomes.append((order, refused))
            else:
                by_account.setdefault(order.account_id, []).append(order)
        prices = await self._read_prices() if by_account else {}
        for account_id in sorted(by_account):
            own = by_account[account_id]
            for start in range(0, len(own), ORDERS_PER_STATEMENT):
                chunk = own[start : start + ORDERS_PER_STATEMENT]
                outcomes += await self._enqueue_affordable(chunk, prices, actor)
        return outcomes

    async def _enqueue_affordable(
        self,
        orders: Sequence[Order],
        prices: Mapping[PriceKey, Decimal],
        actor: Actor | str | None,
    ) -> list[OrderOutcome]:
        """Enqueue the orders of one account that its credits and limits allow, in their order."""
        outcomes: list[OrderOutcome] = []
        for attempt in range(_TRIES):
            try:
                stored = await self._enqueuer.enqueue_each(orders, actor=actor)
            except (InsufficientCredits, QueueLimitReached, DailyLimitReached) as short:
                if attempt == 0:
                    repeated, orders = await self._take_repeated(orders)
                    outcomes += repeated
                orders, too_many = _split_affordable(orders, prices, short)
                outcomes += too_many
                if not orders:
                    return outcomes
            except (RowBusy, RequestRefused) as error:
                return [*outcomes, *((order, error) for order in orders)]
            else:
                return [*outcomes, *zip(orders, stored, strict=True)]
        busy = RowBusy(f"account {orders[0].account_id!r}", wait_seconds=0)
        return [*outcomes, *((order, busy) for order in orders)]

    async def _take_repeated(
        self, orders: Sequence[Order]
    ) -> tuple[list[OrderOutcome], list[Order]]:
        """Return the outcomes of retries that exist already, which need nothing, and the others."""
        jobs = JobRepository(self._database)
        repeated: list[OrderOutcome] = []
        new: list[Order] = []
        for order in orders:
            retry = await jobs.find_retry(order.retry_of) if order.retry_of is not None else None
            if retry is None:
                new.append(order)
            else:
                repeated.append((order, EnqueueResult(retry, is_new=False)))
        return repeated, new

    async def _read_prices(self) -> dict[PriceKey, Decimal]:
        rows = await self._database.fetch("list_prices")
        return {PriceKey.of_row(row): row["credits"] for row in as_dicts(rows)}


def _split_affordable(
    orders: Sequence[Order], prices: Mapping[PriceKey, Decimal], short: _Shortage
) -> tuple[list[Order], list[OrderOutcome]]:
    """Return the first orders that fit into what is left, and the refusals of the others.

    At least one is refused: what is left does not suffice for all.
    """
    room = _room(short)
    affordable: list[Order] = []
    refused: list[OrderOutcome] = []
    for order in orders:
        price = prices.get(PriceKey.of_request(order.request), Decimal(0))
        needed = Decimal(1) if isinstance(short, QueueLimitReached) else price
        is_last_that_fits = len(affordable) == len(orders) - 1 and not refused
        if needed <= room and not is_last_that_fits:
            affordable.append(order)
            room -= needed
        else:
            refused.append((order, _refusal_of_one(short, needed, room)))
    return affordable, refused


def _room(short: _Shortage) -> Decimal:
    if isinstance(short, InsufficientCredits):
        return short.available
    return Decimal(max(short.allowed - short.used, 0))


def _refusal_of_one(short: _Shortage, needed: Decimal, room: Decimal) -> RequestRefused:
    """Return the refusal of one order that needs more than is left after those before it."""
    if isinstance(short, InsufficientCredits):
        return InsufficientCredits(short.account_id, needed=needed, available=room, held=short.held)
    if isinstance(short, QueueLimitReached):
        used = short.allowed - int(room)
        return QueueLimitReached(short.account_id, allowed=short.allowed, used=used, asked=1)
    return DailyLimitReached(
        short.account_id,
        allowed=short.allowed,
        used=short.allowed - room,
        asked=needed,
        resets_at=short.resets_at,
        seconds=short.retry_after_seconds,
    )
