"""The orders of a campaign, each with its own prompt and idempotency key; repeated by a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Literal

from producer import ImageToImage, Order, TextToImage
from producer.orders.order import Priority
from shared.catalog import ImageRequest, list_families
from tests.campaign.fair_shares import WEIGHTS

ACCOUNTS = tuple(WEIGHTS)
SHORT_ACCOUNT = "skiff"
"""Has credits for about half of its orders. They are additional, and may be refused."""
GRANT = 1_000_000
"""Credits of each other account: always enough."""
_OTHERS = {name: family for name, family in list_families().items() if family.kie_models}
PRICES: Mapping[tuple[str, int, str], int] = {
    **{("gpt-4o-image", quantity, ""): price for quantity, price in ((1, 6), (2, 7), (4, 8))},
    **{
        (name, 1, variant): int(credits)
        for name, family in _OTHERS.items()
        for variant, credits in family.kie_models[0].credits.items()
    },
}
"""Kie's price by model, quantity and variant. Our own start there, and are changed meanwhile."""

_QUANTITIES: tuple[Literal[1, 2, 4], ...] = (1, 2, 4)
_OTHER_MODELS_SHARE = 0.4
_PRIORITIES: tuple[Priority, ...] = ("high", "normal", "normal", "low")
_SHORT_EVERY, _CLIENT_EVERY, _TAKEN_BACK_EVERY, _TOLD_EVERY = 21, 3, 51, 4


def count_orders(jobs: int) -> int:
    """Return the number of orders: the jobs, and the additional orders of the short account."""
    return jobs + jobs // (_SHORT_EVERY - 1)


def key_of(number: int) -> str:
    """Return the idempotency key of an order."""
    return f"order-{number}"


def number_of(key: str) -> int:
    """Return the number of the order with that key."""
    return int(key.rpartition("-")[2])


def is_short(number: int) -> bool:
    """Return whether the order is one of the short account."""
    return number % _SHORT_EVERY == _SHORT_EVERY - 1


def comes_by_client(number: int) -> bool:
    """Return whether the order uses the Python client. The others use the HTTP API."""
    return number % _CLIENT_EVERY == 0 and not is_short(number)


def is_taken_back(number: int) -> bool:
    """Return whether its caller cancels the order as soon as it is placed."""
    return number % _TAKEN_BACK_EVERY == _CLIENT_EVERY + 1 and not is_short(number)


def is_told(number: int) -> bool:
    """Return whether the order has a webhook."""
    return number % _TOLD_EVERY == 0


def grants(jobs: int) -> Mapping[str, Decimal]:
    """Return the credits of each account at the start."""
    wanted = (count_orders(jobs) - jobs) * PRICES["gpt-4o-image", 2, ""]
    short = Decimal(max(wanted // 2, PRICES["gpt-4o-image", 4, ""]))
    return {**dict.fromkeys(ACCOUNTS, Decimal(GRANT)), SHORT_ACCOUNT: short}


def order_of(seed: int, number: int, webhook_url: str | None = None) -> Order:
    """Return the order of that number, always the same. Some have the webhook URL."""
    random = Random(f"{seed}:{number}")
    prompt, quantity = f"campaign {seed}, order {number}", random.choice(_QUANTITIES)
    request: ImageRequest = TextToImage(prompt=prompt, aspect_ratio="3:2", quantity=quantity)
    if random.random() < 0.2:
        request = ImageToImage(
            prompt=prompt,
            aspect_ratio="1:1",
            quantity=quantity,
            image_urls=["https://example.com/before.png"],
        )
    if random.random() < _OTHER_MODELS_SHARE:
        request = _request_of_the_market(random, prompt)
    return Order(
        request=request,
        account_id=SHORT_ACCOUNT if is_short(number) else random.choice(ACCOUNTS),
        idempotency_key=key_of(number),
        priority=random.choice(_PRIORITIES),
        webhook_url=webhook_url if is_told(number) else None,
    )


def _request_of_the_market(random: Random, prompt: str) -> ImageRequest:
    """Return one of the examples of the families of the Market, with its own prompt."""
    family = random.choice([*_OTHERS.values()])
    task, model = random.choice([*family.tasks.items()])
    example = random.choice(model.model_json_schema()["examples"])
    return family.validate(task, {**example, "prompt": prompt})


@dataclass(frozen=True, slots=True)
class OrderBook:
    """The due times of the orders, evenly over a window that began at a time (epoch)."""

    seed: int
    jobs: int
    started_epoch: float
    window_seconds: float
    webhook_url: str | None = None

    def order(self, number: int) -> Order:
        """Return the order of that number."""
        return order_of(self.seed, number, self.webhook_url)

    @property
    def length(self) -> int:
        """How many orders there are."""
        return count_orders(self.jobs)

    def due(self, now_epoch: float) -> int:
        """Return how many orders are due by now."""
        share = (now_epoch - self.started_epoch) / self.window_seconds
        return max(0, min(self.length, int(share * self.length) + 1))
