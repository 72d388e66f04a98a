"""Pauses the submits of one model family at one Kie account, over all workers. Its state is in
Redis.

The brake of the account is for responses that cost nothing for certain. This one is for outcomes
that may have cost money, and for an endpoint that is not Kie's. After a few such outcomes in a row
one submit at a time is allowed as a probe, at a growing interval, until a probe succeeds.
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
    """After how many outcomes of one kind a family is paused, and for how long."""

    consecutive: int
    first_pause_ms: int
    longest_pause_ms: int


@dataclass(frozen=True, slots=True)
class FamilyBrakeRules:
    """The rules of a family's brake."""

    uncertain_submits: PauseRule = PauseRule(
        consecutive=3, first_pause_ms=5_000, longest_pause_ms=40_000
    )
    """Submits after which a paid task may exist. One alone has no consequence. The pause is at most
    40 s, so that submits are at full rate within a minute after Kie is well."""
    wrong_endpoint: PauseRule = PauseRule(
        consecutive=1, first_pause_ms=15_000, longest_pause_ms=300_000
    )
    """Another endpoint than Kie's has answered, or Kie has withdrawn the model: no job can pass
    before a person acts, or before the model is back."""
    failed_tasks: PauseRule = PauseRule(
        consecutive=5, first_pause_ms=30_000, longest_pause_ms=600_000
    )
    """Tasks that Kie failed or that do not end."""
    window_ms: int = 600_000
    """The count of bad outcomes starts again after this."""
    submit_probe_ms: int = 60_000
    """How long a probe excludes others while its submit is unanswered; longer than a request."""
    task_probe_ms: int = 300_000
    """How long a probe excludes others while its task has not ended."""


DEFAULT_RULES = FamilyBrakeRules()
_ADVICE = {
    Reason.WRONG_ENDPOINT: "no job can be submitted, and none fails: compare KIE_BASE_URL, proxy"
    " and DNS with Kie's documentation of this model; if Kie has moved the endpoint,"
    " `darkroom models list` shows whether another family can send its jobs",
    Reason.MODEL_GONE: "Kie makes no images with this model, and no job fails:"
    " `darkroom models list` shows whether another family can send its jobs; else pause the model"
    " or cancel its jobs",
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
        """The level when this process last read it; 0 means no pause."""
        self.needs_success_reports = False
        """Whether successes must be reported: the brake is active, or a bad outcome was counted
        lately."""

    def set_level(self, level: int) -> None:
        """Store the level that a script returned; -1 means that bad outcomes are being counted."""
        self.level = max(level, 0)
        self.needs_success_reports = level != 0

    async def probe_wait_seconds(self, job_id: UUID) -> float:
        """Return 0 where a job of a paused family may be submitted as a probe, else the seconds to
        wait.
        """
        rules = self._rules
        excluded_ms = [rules.submit_probe_ms, rules.task_probe_ms]
        wait_ms = int(
            await self._scripts.run("family_brake_probe", [self.key], [str(job_id), *excluded_ms])
        )
        return wait_ms / 1000

    async def record_wrong_endpoint(
        self, job_id: UUID, message: str, reason: Reason = Reason.WRONG_ENDPOINT
    ) -> float:
        """Pause at once. Returns the seconds that are left of the pause."""
        return await self._apply("submit", self._rules.wrong_endpoint, job_id, reason, message)

    async def record_uncertain_submit(self, job_id: UUID, reason: str, message: str) -> float:
        """Count a submit after which a paid task may exist. Returns the seconds of a pause."""
        return await self._apply("submit", self._rules.uncertain_submits, job_id, reason, message)

    async def record_task_failure(self, job_id: UUID, reason: str, message: str) -> float:
        """Count a task that Kie failed or does not end. Returns the seconds of a pause."""
        return await self._apply("task", self._rules.failed_tasks, job_id, reason, message)

    async def record_accepted(self, job_id: UUID) -> None:
        """Report that Kie returned a task id."""
        await self._record("accepted", job_id)

    async def record_delivered(self, job_id: UUID) -> None:
        """Report that a task ended with images."""
        await self._record("delivered", job_id)

    async def allow_probe(self) -> None:
        """Allow the next probe now. Use it when a person expects the family to work again."""
        await self._scripts.run("family_brake_allow_probe", [self.key], [])

    async def end_probe(self, job_id: UUID) -> None:
        """End the probe of this job without a result, so that the next one may start."""
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
            write = log.critical if is_news else log.warning
            write(
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
