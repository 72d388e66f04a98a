"""Pauses the submits of one model family by one Kie account, over all workers, kept in Redis.

The account's own brake is for answers that certainly cost nothing. This one is for what may have
cost money for nothing, and for an endpoint that is not Kie's: after a few such outcomes in a row
one job at a time feels the way, in a growing interval, until one goes well.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog

from shared.domain.lifecycle import Reason
from shared.redis_keys import family_brake_key
from worker.batching.redis_scripts import RedisScripts

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PauseRule:
    """When one kind of outcome pauses a family, and for how long."""

    consecutive: int
    first_pause_ms: int
    longest_pause_ms: int


@dataclass(frozen=True, slots=True)
class FamilyBrakeRules:
    """Everything that a family's brake goes by."""

    uncertain_submits: PauseRule = PauseRule(
        consecutive=3, first_pause_ms=5_000, longest_pause_ms=120_000
    )
    """Submits after which a paid task may exist; of one alone nothing follows."""
    wrong_endpoint: PauseRule = PauseRule(
        consecutive=1, first_pause_ms=15_000, longest_pause_ms=300_000
    )
    """Not Kie's endpoint has answered: no job can pass, until a person has mended it."""
    failed_tasks: PauseRule = PauseRule(
        consecutive=5, first_pause_ms=30_000, longest_pause_ms=600_000
    )
    """Tasks that Kie failed, or that do not end."""
    window_ms: int = 600_000
    """A row of bad outcomes begins anew after this."""
    submit_probe_ms: int = 60_000
    """How long a probe keeps others out while its submit is unanswered: longer than a request."""
    task_probe_ms: int = 300_000
    """How long a probe keeps others out while its task has not ended."""


DEFAULT_RULES = FamilyBrakeRules()
_ADVICE = {
    Reason.WRONG_ENDPOINT: "no job can be submitted, and none fails: compare KIE_BASE_URL, proxy"
    " and DNS with Kie's documentation of this model; if Kie has moved the endpoint, install a"
    " version that knows the new one",
    "task": "Kie takes jobs and does not finish them: see https://kie.ai/logs; submits go on by"
    " themselves once a task has ended well",
    "submit": "each of these submits may have been paid for: see https://kie.ai/logs; submits go on"
    " by themselves once Kie accepts one",
}


class FamilyBrake:
    """The brake of one model family at one Kie account."""

    def __init__(
        self,
        scripts: RedisScripts,
        account: str,
        model: str,
        *,
        rules: FamilyBrakeRules = DEFAULT_RULES,
    ) -> None:
        self._scripts = scripts
        self._account, self._model = account, model
        self.key = family_brake_key(account, model)
        self._rules = rules
        self.level = 0
        """How hard it was applied when this process last looked; 0 means not at all."""
        self.needs_success_reports = False
        """Whether good news must be noted: it is applied, or a bad outcome was counted lately."""

    def set_level(self, told: int) -> None:
        """Note what a script has just told: the level, or -1 where bad outcomes are counted."""
        self.level = max(told, 0)
        self.needs_success_reports = told != 0

    async def probe_wait_seconds(self, job_id: UUID) -> float:
        """Return 0 where a job of a slowed family may be submitted, else the seconds to wait."""
        rules = self._rules
        holds = [rules.submit_probe_ms, rules.task_probe_ms]
        wait_ms = int(
            await self._scripts.run("family_brake_probe", [self.key], [str(job_id), *holds])
        )
        return wait_ms / 1000

    async def record_wrong_endpoint(self, job_id: UUID, message: str) -> float:
        """Pause at once; return the seconds that are left of the pause."""
        return await self._apply(
            "submit", self._rules.wrong_endpoint, job_id, Reason.WRONG_ENDPOINT, message
        )

    async def record_uncertain_submit(self, job_id: UUID, reason: str, message: str) -> float:
        """Count a submit after which a paid task may exist; return the seconds of a pause."""
        return await self._apply("submit", self._rules.uncertain_submits, job_id, reason, message)

    async def record_task_failure(self, job_id: UUID, reason: str, message: str) -> float:
        """Count a task that Kie failed or does not end; return the seconds of a pause."""
        return await self._apply("task", self._rules.failed_tasks, job_id, reason, message)

    async def record_accepted(self, job_id: UUID) -> None:
        """Note that Kie gave a task id."""
        await self._record("accepted", job_id)

    async def record_delivered(self, job_id: UUID) -> None:
        """Note that a task ended with images."""
        await self._record("delivered", job_id)

    async def end_probe(self, job_id: UUID) -> None:
        """Let the next probe go: this one has proved nothing either way."""
        await self._record("neither", job_id)

    async def _apply(
        self, kind: str, rule: PauseRule, job_id: UUID, reason: str, message: str
    ) -> float:
        level, pause_ms, is_news = await self._scripts.run(
            "family_brake_apply",
            [self.key],
            [
                *(
                    kind,
                    rule.consecutive,
                    self._rules.window_ms,
                    rule.first_pause_ms,
                    rule.longest_pause_ms,
                ),
                *(reason, message, str(job_id)),
            ],
        )
        self.set_level(abs(int(level)) or -1)
        pause_seconds = float(pause_ms) / 1000
        if int(level) > 0:
            say = log.critical if is_news else log.warning
            say(
                "submits_paused",
                account=self._account,
                model=self._model,
                reason=reason,
                message=message,
                pause_seconds=pause_seconds,
                meaning=_ADVICE.get(reason) or _ADVICE[kind],
            )
        return pause_seconds

    async def _record(self, news: str, job_id: UUID) -> None:
        before = self.level
        self.set_level(
            int(await self._scripts.run("family_brake_report", [self.key], [news, str(job_id)]))
        )
        if before > 0 and self.level == 0:
            log.info("submits_resumed", account=self._account, model=self._model)
