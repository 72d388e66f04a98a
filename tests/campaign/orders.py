"""The orders of a campaign, each with its own prompt and idempotency key; repeated by a seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from producer import ImageToImage, Order, TextToImage
from producer.orders import Priority

ACCOUNTS = ("harbour", "lighthouse", "pier")
GRANT = 1_000_000
"""Credits of each account: never short, whatever happens."""
PRICES = {1: 6, 2: 7, 4: 8}
"""The seeded prices, by quantity."""

_QUANTITIES: tuple[Literal[1, 2, 4], ...] = (1, 2, 4)
_PRIORITIES: tuple[Priority, ...] = ("high", "normal", "normal", "low")


def key_of(number: int) -> str:
    """Return the idempotency key of an order."""
    return f"order-{number}"


def order_of(seed: int, number: int) -> Order:
    """Return the order of that number: always the same one."""
    random = Random(f"{seed}:{number}")
    prompt, quantity = f"campaign {seed}, order {number}", random.choice(_QUANTITIES)
    request: TextToImage | ImageToImage = TextToImage(
        prompt=prompt, aspect_ratio="3:2", quantity=quantity
    )
    if random.random() < 0.2:
        request = ImageToImage(
            prompt=prompt,
            aspect_ratio="1:1",
            quantity=quantity,
            image_urls=["https://example.com/before.png"],
        )
    return Order(
        request=request,
        account_id=random.choice(ACCOUNTS),
        idempotency_key=key_of(number),
        priority=random.choice(_PRIORITIES),
    )


@dataclass(frozen=True, slots=True)
class OrderBook:
    """Which orders are due when: evenly over a window that began at a moment (epoch)."""

    seed: int
    jobs: int
    started_epoch: float
    window_seconds: float

    def due(self, now_epoch: float) -> int:
        """Return how many orders are due by now."""
        share = (now_epoch - self.started_epoch) / self.window_seconds
        return max(0, min(self.jobs, int(share * self.jobs) + 1))
