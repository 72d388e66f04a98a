"""What the handlers of the API work with, opened once per process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from producer.api.key_budgets import KeyBudgets
from producer.billing import Billing
from producer.client import Producer
from producer.keys.key_store import KeyStore
from producer.keys.revocation_watch import RevocationWatch
from producer.orders.order_batcher import OrderBatcher


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The rooms behind the counter."""

    producer: Producer
    keys: KeyStore
    revocation_watch: RevocationWatch
    """Ends what is open under a key that was revoked."""
    order_batcher: OrderBatcher
    """Where single orders are placed."""
    budgets: KeyBudgets = field(default_factory=KeyBudgets)
    """What each key may have under way."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process is told to stop: who waits is answered at once."""

    @property
    def billing(self) -> Billing:
        """Accounts, prices and the ledger."""
        return self.producer.billing
