"""Slows the submit lane of all workers down together when Kie asks for it, and lets it recover."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import cast

import structlog

from shared.adapters.delivery import translated_redis_errors
from shared.domain.lifecycle import Reason
from worker.scripts import Scripts

log = structlog.get_logger(__name__)

BRAKE_KEY = "darkroom:brake"


@dataclass(frozen=True, slots=True)
class Steps:
    """Pauses that double from the first to the longest."""

    first_ms: int
    longest_ms: int


# Kie is busy: doubling pauses from a second. The account is refused: nobody can submit until a
# person mends it, so look again seldom.
BUSY = Steps(1_000, 30_000)
BLOCKED = Steps(15_000, 300_000)


class Brake:
    """The brake of one Kie account, kept in Redis."""

    def __init__(
        self,
        scripts: Scripts,
        key: str = BRAKE_KEY,
        *,
        busy: Steps = BUSY,
        blocked: Steps = BLOCKED,
    ) -> None:
        self._scripts = scripts
        self.key = key
        self._busy = busy
        self._blocked = blocked
        self.level = 0
        """How hard it was applied when this process last looked; 0 means not at all."""

    def observe(self, level: int) -> None:
        """Note the level that a claim has just seen."""
        self.level = level

    async def slow_down(self, reason: str, message: str) -> float:
        """Pause everybody's submits, longer each time in a row; return the pause in seconds.

        An account refusal is said once, loudly, by whoever applies the brake first.
        """
        blocked = reason == Reason.ACCOUNT_REFUSED
        steps = self._blocked if blocked else self._busy
        level, pause_ms, is_news = await self._scripts.run(
            "brake", [self.key], [steps.first_ms, steps.longest_ms, reason, message]
        )
        pause_seconds = float(pause_ms) / 1000
        self.level = abs(int(level))
        if level > 0:
            say = log.critical if blocked and is_news else log.warning
            say("submits_paused", reason=reason, message=message, pause_seconds=pause_seconds)
        return pause_seconds

    async def ease(self) -> int:
        """Take a step back after a submit that went well; return the level that is left."""
        level = self.level = int(await self._scripts.run("ease", [self.key], []))
        if level == 0:
            log.info("submits_resumed")
        return level

    async def reason(self) -> str | None:
        """Return why submits are slowed down, or None where they are not."""
        with translated_redis_errors():
            answer = self._scripts.redis.hget(self.key, "reason")
            value = await cast("Awaitable[bytes | None]", answer)
        return value.decode() if value else None
