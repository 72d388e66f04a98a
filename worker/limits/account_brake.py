"""Slows down and pauses the submits of one Kie account in all workers when Kie refuses them.

Where Kie is too busy, the submits per window are reduced, and grow again with time. A pause follows
only where Kie has accepted nothing since the rate was reduced. See docs/decisions/0044.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import structlog

from shared.adapters.redis.redis_errors import translated_redis_errors
from shared.domain.lifecycle import Reason
from shared.kie_accounts import DEFAULT_ACCOUNT
from shared.redis_keys import brake_key
from worker.batching.redis_scripts import RedisScripts
from worker.limits.family_brake import DEFAULT_RULES, FamilyBrake, FamilyBrakeRules

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PauseRange:
    """The first and the longest pause. Each pause is twice the one before."""

    first_pause_ms: int
    longest_pause_ms: int


# When Kie is busy, pauses start at a second. When it refuses the account, a person must act first,
# so pauses are longer.
BUSY_PAUSES = PauseRange(1_000, 30_000)
BLOCKED_PAUSES = PauseRange(15_000, 300_000)


@dataclass(frozen=True, slots=True)
class SubmitRateRules:
    """How the rate of submits recovers after a reduction, in 55 s at most."""

    hold_ms: int = 2_000
    """How long it stays after each refusal, so that what was under way is answered."""
    growth_ms: int = 53_000
    """In how long it grows from 1 to the limit afterwards."""
    assumed_limit: int = 20
    """The least to assume as the limit where none is configured."""


DEFAULT_RATE_RULES = SubmitRateRules()


class AccountBrake:
    """The brake and the rate of one Kie account. Both are in Redis."""

    def __init__(
        self,
        scripts: RedisScripts,
        account: str = DEFAULT_ACCOUNT,
        *,
        busy: PauseRange = BUSY_PAUSES,
        blocked: PauseRange = BLOCKED_PAUSES,
        family_rules: FamilyBrakeRules = DEFAULT_RULES,
        rate_rules: SubmitRateRules = DEFAULT_RATE_RULES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scripts = scripts
        self._account = account
        self.key = brake_key(account)
        self._family_rules = family_rules
        self._families: dict[str, FamilyBrake] = {}
        self._busy = busy
        self._blocked = blocked
        self._rate_rules = rate_rules
        self._monotonic = monotonic
        self._paused_until = float("-inf")
        self.level = 0
        """The level when this process last read it; 0 means no pause."""
        self.is_unproven = False
        """Whether Kie was too busy for a submit and has accepted none since, when this process last
        read it."""

    @property
    def is_probing(self) -> bool:
        """Whether one submit at a time is sent, and an accepted one must be reported."""
        return self.level > 0 or self.is_unproven

    @property
    def is_paused(self) -> bool:
        """Whether a pause is active that this process has started. Claims read the pause from
        Redis.
        """
        return self._monotonic() < self._paused_until

    def family_brake(self, model: str) -> FamilyBrake:
        """Return the brake of one model family at this account."""
        found = self._families.get(model)
        if found is None:
            found = self._families[model] = FamilyBrake(
                self._scripts, self._account, model, rules=self._family_rules
            )
        return found

    @property
    def highest_level(self) -> int:
        """The level of this brake or of a family brake, whichever is higher."""
        return max([self.level, *(one.level for one in self._families.values())])

    def set_level(self, level: int) -> None:
        """Store the level that a script returned; -1 means that one submit at a time is sent."""
        self.level, self.is_unproven = max(level, 0), level < 0

    async def apply(self, reason: str, message: str) -> float:
        """Pause this account's submits in all workers, longer with each level. Returns the pause in
        seconds.

        A refusal of the account is logged once at CRITICAL, by the worker that applies the brake
        first.
        """
        blocked = reason == Reason.ACCOUNT_REFUSED
        steps = self._blocked if blocked else self._busy
        level, pause_ms, is_news = await self._scripts.run(
            "account_brake_apply",
            [self.key],
            [steps.first_pause_ms, steps.longest_pause_ms, reason, message],
        )
        pause_seconds = float(pause_ms) / 1000
        self._paused_until = self._monotonic() + pause_seconds
        self.level = abs(int(level))
        if level > 0:
            write = log.critical if blocked and is_news else log.warning
            write(
                "submits_paused",
                account=self._account,
                reason=reason,
                message=message,
                pause_seconds=pause_seconds,
            )
        return pause_seconds

    async def slow_down(
        self,
        limit: int,
        reason: str,
        message: str,
        *,
        under_way_seconds: float,
        may_pause: bool = True,
    ) -> float:
        """Reduce the rate of this account's submits in all workers, because Kie was too busy.

        `limit` is the configured number of submits per window; 0 means none. Of many requests that
        were under way at the same time, the first refusal reduces. Where Kie has accepted none
        since the reduction before, the submits pause as well, unless `may_pause` is False. Returns
        the pause in seconds, or 0.
        """
        rules = self._rate_rules
        rate_thousandths, full, is_reduced, is_all_refused = await self._scripts.run(
            "submit_rate_reduce",
            [self.key],
            [
                *(limit, int(under_way_seconds * 1000), rules.assumed_limit),
                *(rules.hold_ms, rules.growth_ms, reason, message),
            ],
        )
        if is_reduced:
            self.is_unproven = True
            log.warning(
                "submits_slowed",
                account=self._account,
                reason=reason,
                message=message,
                rate=int(rate_thousandths) / 1000,
                limit=int(full),
            )
        return await self.apply(reason, message) if is_all_refused and may_pause else 0.0

    async def record_accepted(self, under_way_seconds: float = 0.0) -> int:
        """Record that Kie has accepted a submit. Reduces the level by one; returns what is left."""
        was_braked = self.level > 0
        under_way_ms = int(under_way_seconds * 1000)
        self.set_level(
            int(await self._scripts.run("account_brake_reduce", [self.key], [under_way_ms]))
        )
        if was_braked and self.level == 0:
            log.info("submits_resumed", account=self._account)
        return self.level

    async def reason(self) -> str | None:
        """Return why submits are paused, or None where they are not."""
        with translated_redis_errors():
            answer = self._scripts.redis.hget(self.key, "reason")
            value = await cast("Awaitable[bytes | None]", answer)
        return value.decode() if value else None
