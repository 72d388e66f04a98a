"""Our accounts at Kie, each with its own client, limit and brake.

A submit is sent with the account whose slot its claim has reserved. A task is queried with the
account that made it, because Kie returns a task to no other account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import structlog

from shared.catalog import (
    ImageRequest,
    KieRequest,
    KieResponse,
    ModelFamily,
    list_families,
)
from shared.domain.kie_outcomes import NoVerdict, PollOutcome, SubmitOutcome, TaskLookup, TryLater
from shared.domain.lifecycle import Reason
from shared.redis_keys import submit_log_name
from worker.kie.kie_client import KieApi
from worker.limits.account_brake import AccountBrake
from worker.limits.active_pauses import ActivePauses
from worker.limits.family_brake import FamilyBrake
from worker.limits.submit_gates import SubmitGate, never_paused
from worker.limits.throttle import Limit

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KieAccount:
    """One of our accounts at Kie."""

    name: str
    kie: KieApi
    brake: AccountBrake

    @property
    def throttle_name(self) -> str:
        """The name of its log in the submit throttle."""
        return submit_log_name(self.name)

    def gate(self, limit: Limit, is_paused: Callable[[], bool] = never_paused) -> SubmitGate:
        """Return the gate of its submits: the limit, the brakes and a person's pauses."""
        brakes = tuple(self.brake.family_brake(name) for name in sorted(list_families()))
        return SubmitGate(
            limit.key(self.throttle_name),
            limit.requests,
            self.brake,
            brakes,
            is_paused,
        )


class KieAccountPool:
    """The Kie accounts of this worker."""

    def __init__(
        self, accounts: Sequence[KieAccount], *, on_missing: Callable[[str], None] | None = None
    ) -> None:
        self._accounts = tuple(accounts)
        self.pauses = ActivePauses()
        """The pauses of everything and of accounts, as this worker last read them."""
        self._by_name = {account.name: account for account in accounts}
        self._missing: dict[str, KieApi] = {}
        self._on_missing = on_missing
        self._next_index = 0

    def __iter__(self) -> Iterator[KieAccount]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)

    def gates(self, limit: Limit) -> list[SubmitGate]:
        """Return the gate of the submits of each account."""
        return [one.gate(limit, partial(self.pauses.stops, one.name)) for one in self._accounts]

    def account_for_submit(self, reserved: int | None) -> KieAccount:
        """Return the account to submit with: the reserved one, or else the next that is not paused.

        No account is reserved where another program has claimed the delivery, such as arq itself.
        """
        if reserved is not None:
            return self._accounts[reserved]
        first, self._next_index = self._next_index, (self._next_index + 1) % len(self._accounts)
        in_turn = self._accounts[first:] + self._accounts[:first]
        allowed = [one for one in in_turn if not self.pauses.stops(one.name)] or in_turn
        return next((one for one in allowed if not one.brake.is_paused), allowed[0])

    def has_other_open_account(self, account: KieAccount, family_name: str) -> bool:
        """Return whether another account may submit now, as far as this worker knows."""
        return any(
            one is not account
            and not one.brake.is_probing
            and one.brake.family_brake(family_name).level == 0
            and not self.pauses.stops(one.name)
            for one in self._accounts
        )

    def braked_families(self) -> list[str]:
        """Return the families whose submits are braked at every account, as far as this worker
        knows.
        """
        return [
            name
            for name in list_families()
            if all(one.brake.family_brake(name).level > 0 for one in self._accounts)
        ]

    def family_brake_of(self, name: str | None, family_name: str) -> FamilyBrake | None:
        """Return the brake of a model family at this account; None where the account is not
        configured.
        """
        account = self._by_name.get(name or "")
        return None if account is None else account.brake.family_brake(family_name)

    def client_of(self, name: str | None) -> KieApi:
        """Return the client of this account.

        Where no key of that name is configured, it is a client that never has an answer.
        """
        account = self._by_name.get(name or "")
        return self._client_without_key(name or "") if account is None else account.kie

    def _client_without_key(self, name: str) -> KieApi:
        missing = self._missing.get(name)
        if missing is None:
            missing = self._missing[name] = ClientWithoutKey(name)
            log.critical(
                "kie_account_missing",
                account=name,
                meaning="its tasks cannot be asked about: put its key back, in KIE_API_KEYS",
            )
            if self._on_missing is not None:
                self._on_missing(name)
        return missing


class ClientWithoutKey:
    """The client of an account whose key is not configured: like one whose key Kie refuses."""

    def __init__(self, name: str) -> None:
        self._message = f"no key of the Kie account {name!r} is configured"

    async def submit(
        self, family: ModelFamily, request: ImageRequest, *, callback_url: str | None
    ) -> SubmitOutcome:
        """Return that nothing was sent."""
        del family, request, callback_url
        return TryLater(Reason.ACCOUNT_REFUSED, self._message)

    async def poll(self, family: ModelFamily, task_id: str) -> PollOutcome:
        """Return that nothing is known."""
        del family, task_id
        return NoVerdict(self._message, account_blocked=True)

    async def examine(self, family: ModelFamily, task_id: str) -> TaskLookup:
        """Return that nothing is known."""
        return TaskLookup(await self.poll(family, task_id), None)

    async def download_link(self, family: ModelFamily, task_id: str, url: str) -> str | None:
        """Return that there is no link."""
        del family, task_id, url
        return None

    async def credit(self) -> Decimal | None:
        """Return that nothing is known."""
        return None

    async def query_catalogue(self, request: KieRequest) -> KieResponse | None:
        """Return that nothing is known."""
        del request
        return None
