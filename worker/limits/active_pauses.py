"""The pauses that people have set, as one worker last read them. `PauseWatch` reads them.

A claim in Postgres is guarded by the pauses themselves. What is stored here only avoids claims that
Postgres would refuse: while everything is paused, or a Kie account, no delivery is claimed for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from uuid import UUID

from shared.errors import DarkroomError


class JobPaused(DarkroomError):
    """An active pause applies to the queued job. Nothing was written."""

    code = "job_paused"

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"job {job_id} is paused")


class KieAccountPaused(DarkroomError):
    """An active pause applies to the Kie account of this claim. Nothing was written."""

    code = "kie_account_paused"

    def __init__(self, account: str) -> None:
        super().__init__(f"submits by the Kie account {account} are paused")


class ActivePauses:
    """The active pauses of everything and of Kie accounts. Without any read, none is known."""

    def __init__(self) -> None:
        self._is_everything_paused = False
        self._kie_accounts: frozenset[str] = frozenset()
        self.read_requested = asyncio.Event()
        """Set when the pauses should be read now."""

    def stops(self, kie_account: str) -> bool:
        """Return whether nothing is submitted by this Kie account."""
        return self._is_everything_paused or kie_account in self._kie_accounts

    def replace(self, *, is_everything_paused: bool, kie_accounts: Collection[str]) -> None:
        """Store what was read."""
        self._is_everything_paused = is_everything_paused
        self._kie_accounts = frozenset(kie_accounts)

    def request_read(self) -> None:
        """Have the pauses read now: one was started or has ended."""
        self.read_requested.set()
