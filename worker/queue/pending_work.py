"""Whether Postgres has anything to do for a worker, as the worker's heartbeat finds it.

While nothing is to do, the periodic work that only looks for it is left out, so that the heartbeat
is nearly the only statement of an idle worker. What is not known counts as to be done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

_WORKS = ("reconcile", "late_tasks", "prices")


class PendingWork:
    """What is to do, for one worker. Before the first heartbeat, and after one that failed, all of
    it.
    """

    def __init__(self) -> None:
        self.needed = {name: asyncio.Event() for name in _WORKS}
        """By work of `darkroom_pending_work`: set while it is to be done."""
        self._watchers: list[tuple[Callable[[], object], tuple[str, ...]]] = []
        self._last: Mapping[str, Any] | None = None
        self._echo: str | None = None
        self._kie_accounts: Mapping[str, Any] | None = None
        self.record(None)

    @property
    def is_quiet(self) -> bool:
        """Whether the reconciler has nothing to do."""
        return not self.needed["reconcile"].is_set()

    def call_on_change(self, call: Callable[[], object], *fields: str) -> None:
        """Have it called after a heartbeat that finds another value of one of these fields of
        `darkroom_pending_work`, or none.
        """
        self._watchers.append((call, fields))

    async def request_echo(self, token: str) -> None:
        """Have the next heartbeat notify the listening connection that has this token."""
        self._echo = token

    def request_sample(self, kie_accounts: Mapping[str, Any]) -> bool:
        """Have the next heartbeat write the samples of the history that are due. Returns False
        while the caller must do so: a busy database may take longer than a heartbeat should.
        """
        if self.is_quiet:
            self._kie_accounts = kie_accounts
        return self.is_quiet

    def take_requests(self) -> tuple[str | None, Mapping[str, Any] | None]:
        """Return what the next heartbeat sends: a token, and the figures of Kie accounts."""
        requests = self._echo, self._kie_accounts
        self._echo = self._kie_accounts = None
        return requests

    def record(self, found: Mapping[str, Any] | None) -> None:
        """Record what a heartbeat has found; None where nothing is known."""
        last, self._last = self._last, found
        for name, event in self.needed.items():
            if found is None or found[name]:
                event.set()
            else:
                event.clear()
        if found is None or last is None or found["events"] != last["events"]:
            # The newest event is compared with that of the last check.
            self.needed["reconcile"].set()
        for call, fields in self._watchers:
            if found is None or last is None or any(found[one] != last[one] for one in fields):
                call()
