"""The simulated Kie account: what tasks cost and what is left."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

CREDITS_BY_VARIANTS: Mapping[int, Decimal] = MappingProxyType(
    {1: Decimal(6), 2: Decimal(7), 4: Decimal(8)}
)


class Account:
    """Credits of the one account; a task is charged when created and refunded when it fails."""

    __slots__ = ("balance", "refunded", "spent", "starting")

    def __init__(self, starting: Decimal) -> None:
        self.starting = starting
        self.balance = starting
        self.spent = Decimal(0)
        self.refunded = Decimal(0)

    def charge(self, credits: Decimal) -> bool:
        """Deduct the credits, or return False and deduct nothing when the balance is short."""
        if credits > self.balance:
            return False
        self.balance -= credits
        self.spent += credits
        return True

    def refund(self, credits: Decimal) -> None:
        """Give back what a failed task had cost."""
        self.balance += credits
        self.refunded += credits

    def top_up(self, credits: Decimal) -> None:
        """Add credits, as somebody buying more would."""
        self.starting += credits
        self.balance += credits

    def describe(self) -> dict[str, float]:
        """The credit part of the record; ``spent`` counts refunded charges too."""
        return {
            "starting": float(self.starting),
            "balance": float(self.balance),
            "spent": float(self.spent),
            "refunded": float(self.refunded),
            "net": float(self.spent - self.refunded),
        }
