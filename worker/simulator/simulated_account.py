"""A simulated Kie account: its credits, its price list, its limit and its faults."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from .fault_switch_parser import Overrides
from .sliding_windows import ArrivalWindow, SlidingLimit


class SimulatedAccount:
    """Credits of one account; a task is charged when created and refunded when it fails.

    Accounts are numbered from 1 in the order of their keys. `overrides` are fault switches for this
    account alone.
    """

    __slots__ = (
        *("balance", "catalogue_limit", "create_limit", "creates_admitted", "number"),
        "overrides",
        *("refunded", "spent", "starting"),
    )

    def __init__(
        self, starting: Decimal, *, number: int = 1, creates_per_10_seconds: int = 0
    ) -> None:
        self.number = number
        self.create_limit = SlidingLimit(creates_per_10_seconds, 10.0)
        self.catalogue_limit = SlidingLimit(1, 1.0)
        self.creates_admitted = ArrivalWindow(10.0)
        self.overrides: Overrides = {}
        self.starting = starting
        self.balance = starting
        self.spent = Decimal(0)
        self.refunded = Decimal(0)

    @property
    def user_id(self) -> int:
        """Its number at Kie, as in the paths of its files."""
        return 100_000 + self.number

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
        """Add credits, as a purchase does."""
        self.starting += credits
        self.balance += credits

    def describe(self) -> dict[str, float]:
        """Its credits; ``spent`` counts refunded charges too."""
        return describe_credits((self,))


def describe_credits(accounts: Sequence[SimulatedAccount]) -> dict[str, float]:
    """The credit part of the record: of these accounts together."""
    spent = sum(account.spent for account in accounts)
    refunded = sum(account.refunded for account in accounts)
    return {
        "starting": float(sum(account.starting for account in accounts)),
        "balance": float(sum(account.balance for account in accounts)),
        "spent": float(spent),
        "refunded": float(refunded),
        "net": float(spent - refunded),
    }


def describe_account(account: SimulatedAccount) -> dict[str, object]:
    """Return the record of one account."""
    return {
        "account": account.number,
        "created": account.creates_admitted.total,
        "worst_window_10_seconds": account.creates_admitted.worst,
        "credits": account.describe(),
    }
