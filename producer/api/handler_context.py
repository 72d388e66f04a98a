"""What the handlers of the API work with, opened once per process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from producer.api.key_budgets import Budgets
from producer.billing import Till
from producer.client import Producer
from producer.keys.key_store import KeyRing
from producer.keys.revocation_watch import KeyWatch
from producer.orders.order_batcher import OrderQueue


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms behind the counter."""

    producer: Producer
    keys: KeyRing
    key_watch: KeyWatch
    """Ends what is open under a key that was revoked."""
    orders: OrderQueue
    """Where single orders are placed."""
    budgets: Budgets = field(default_factory=Budgets)
    """What each key may have under way."""
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process is told to stop: who waits is answered at once."""

    @property
    def till(self) -> Till:
        """Accounts, prices and the ledger."""
        return self.producer.till
