"""The state of the simulated provider, and the decisions that its routes share."""

from __future__ import annotations

import math
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from heapq import heappop, heappush
from random import Random

from .create_request import CreateRequest
from .fault_switch_parser import Overrides, with_switches
from .fault_switches import FaultSwitches
from .request_record import RequestRecord
from .responses import (
    KEY_NOT_SENT_RIGHT,
    RefusedError,
    SimulatedResponse,
    error,
    malformed_reply,
)
from .simulated_account import SimulatedAccount
from .simulated_task import PlannedEnd, SimulatedTask
from .simulator_config import SimulatorClocks, SimulatorConfig
from .sliding_windows import SlidingLimit
from .task_ends import SUCCESS, TASK_ENDS, TaskEnd
from .uploaded_files import UploadedFiles

_PROMPTS_KEPT = 100_000
_LIBRARY_USER_AGENT = re.compile(r"^$|^python|^aiohttp|^go-http|^curl|^okhttp", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """The two headers of a request by which Kie identifies its caller; empty where absent."""

    authorization: str = ""
    user_agent: str = ""


def _fresh_id() -> str:
    return uuid.uuid4().hex


class SimulatedProvider:
    """The accounts, their tasks and their limits. Nothing here waits or does I/O."""

    def __init__(
        self,
        config: SimulatorConfig,
        *,
        clocks: SimulatorClocks | None = None,
        new_task_id: Callable[[], str] = _fresh_id,
    ) -> None:
        self.config = config
        self.clocks = clocks or SimulatorClocks()
        self.base_url = config.public_url.rstrip("/")
        self._new_task_id = new_task_id
        self.files = UploadedFiles(self.clocks, lambda: self.faults.file_lifetime_seconds)
        self.reset()

    def reset(self) -> None:
        """Delete all state and begin as at the start, with the same seed and faults."""
        config = self.config
        self.files.close()
        # Simulated faults need repeatable randomness, not unguessable randomness.
        seeds = Random(config.seed)  # noqa: S311
        # Durations have their own stream: the n-th task takes equally long in every run of a
        # seed, whatever is drawn for faults and latencies in between.
        self._duration_draws = Random(seeds.getrandbits(64))  # noqa: S311
        self._draws = Random(seeds.getrandbits(64))  # noqa: S311
        self.faults = config.faults
        self.started_at = self.clocks.monotonic()
        self.accounts = tuple(
            SimulatedAccount(
                config.starting_credits,
                number=number,
                creates_per_10_seconds=config.creates_per_10_seconds,
            )
            for number in range(1, len(config.api_keys) + 1)
        )
        self._account_by_authorization = {
            f"Bearer {key}": account
            for key, account in zip(config.api_keys, self.accounts, strict=True)
        }
        self.record = RequestRecord(self.clocks, self.accounts, config.request_log_size)
        self._ends: list[tuple[float, str]] = []
        self._refusals_by_prompt: OrderedDict[str, int] = OrderedDict()

    @property
    def account(self) -> SimulatedAccount:
        """The first account, which is the only one unless more keys are given."""
        return self.accounts[0]

    @property
    def create_limit(self) -> SlidingLimit:
        """The limit of the first account."""
        return self.account.create_limit

    def draw(self, rate: float) -> bool:
        """Whether something of this probability happens now."""
        if rate <= 0.0:
            return False
        return rate >= 1.0 or self._draws.random() < rate

    def draw_latency(self, seconds: float) -> float:
        """A latency around this many seconds, jittered; 0 stays 0."""
        if seconds <= 0.0:
            return 0.0
        jitter = self.config.latency_jitter
        return seconds * (1.0 + jitter * (2.0 * self._draws.random() - 1.0))

    def faults_for(self, task: SimulatedTask) -> FaultSwitches:
        """Return the switches of one task: those of its account, overridden by its own
        directives.
        """
        return with_switches(self.faults_of(task.account), task.overrides)

    def faults_of(self, account: SimulatedAccount) -> FaultSwitches:
        """Return the switches of one account: those of all accounts, overridden by its own."""
        return with_switches(self.faults, account.overrides)

    def error(
        self, code: int, message: str = "", *, faults: FaultSwitches | None = None
    ) -> SimulatedResponse:
        """An error reply in the form that the switches ask for."""
        form = (faults or self.faults).error_form
        if form == "mixed":
            form = self._draws.choice(("body", "status", "bare"))
        return error(code, message, form)

    def check_caller(self, caller: Caller, call: str) -> SimulatedAccount:
        """Return the account of the caller. Raises `RefusedError` where the account or the caller
        is refused.

        ``call`` is create, poll, upload or other: bursts concern only some calls.
        """
        if self.faults.refuse_default_user_agent and _LIBRARY_USER_AGENT.search(caller.user_agent):
            raise RefusedError("user_agent", malformed_reply("cloudflare"))
        account = self._account_by_authorization.get(caller.authorization)
        if account is None:
            message = KEY_NOT_SENT_RIGHT if call in ("create", "upload") else ""
            raise RefusedError("authorization", self.error(401, message))
        faults = self.faults_of(account)
        if faults.account_code:
            code = faults.account_code
            raise RefusedError(f"account_{code}", self.error(code, faults=faults))
        if faults.burst_code and self._in_burst(faults) and faults.burst_scope in (call, "all"):
            code = faults.burst_code
            raise RefusedError(f"burst_{code}", self.error(code, faults=faults))
        return account

    def find_task(self, account: SimulatedAccount, task_id: str) -> SimulatedTask | None:
        """Return the task if this account made it. A task of another account is unknown to it."""
        task = self.record.tasks.get(task_id)
        if task is None or task.account is account:
            return task
        self.record.asked_by_other_accounts += 1
        return None

    def _in_burst(self, faults: FaultSwitches) -> bool:
        every, length = faults.burst_every_seconds, faults.burst_seconds
        if every <= 0.0:
            return True
        return (self.clocks.monotonic() - self.started_at) % every < length

    def take_refusal(self, prompt: str, times: int) -> bool:
        """Use one of the ``times`` refusals of this prompt. Returns False when none is left.

        With 0 times there is no end of them.
        """
        if times == 0:
            return True
        so_far = self._refusals_by_prompt.pop(prompt, 0)
        self._refusals_by_prompt[prompt] = so_far + 1
        if len(self._refusals_by_prompt) > _PROMPTS_KEPT:
            self._refusals_by_prompt.popitem(last=False)
        return so_far < times

    def open_task(
        self,
        account: SimulatedAccount,
        request: CreateRequest,
        faults: FaultSwitches,
        overrides: Overrides,
    ) -> SimulatedTask | None:
        """Charge for a new task and create it; None when the credits are short."""
        credits = request.credits
        if faults.price_factor != 1.0:
            credits *= Decimal(str(faults.price_factor))
        if not account.charge(credits):
            return None
        task = SimulatedTask(
            id=self._new_task_id(),
            account=account,
            request=request,
            planned=self._plan_end(request, faults),
            credits=credits,
            created_at=self.clocks.monotonic(),
            created_epoch=self.clocks.epoch(),
            overrides=overrides,
        )
        self.record.note_task(task)
        if math.isfinite(task.finish_at):
            heappush(self._ends, (task.finish_at, task.id))
        return task

    def finish_due_tasks(self) -> None:
        """Count every task that has ended by now and refund the failed ones."""
        now = self.clocks.monotonic()
        while self._ends and self._ends[0][0] <= now:
            task = self.record.tasks[heappop(self._ends)[1]]
            self.record.outcomes[task.planned.outcome.name] += 1
            if not task.planned.outcome.success:
                task.account.refund(task.credits)

    def _plan_end(self, request: CreateRequest, faults: FaultSwitches) -> PlannedEnd:
        drawn = self.config.durations.draw(self._duration_draws)
        typical = self.config.durations.typical_seconds
        if faults.duration is not None:
            drawn = typical = faults.duration
        if self.draw(faults.never_ends):
            drawn = math.inf
        outcome = self._choose_end(faults)
        if outcome.at_once:
            drawn = 0.0
        url_count = max(0, request.n_variants - faults.missing_urls) if outcome.success else 0
        if url_count and self.draw(faults.success_without_urls):
            url_count = 0
        flag = faults.failure_flag
        if flag == "mixed":
            flag = self._draws.choice("23")
        return PlannedEnd(outcome, drawn, typical, url_count, outcome.flag or int(flag))

    def _choose_end(self, faults: FaultSwitches) -> TaskEnd:
        if faults.outcome is not None:
            return TASK_ENDS[faults.outcome]
        for rate, name in (
            (faults.generate_failed_rate, "generate_failed"),
            (faults.create_task_failed_rate, "create_task_failed"),
            (faults.content_policy_rate, "content_policy"),
            (faults.image_fetch_failed_rate, "image_fetch_failed"),
            (faults.unknown_status_rate, "unknown_status"),
        ):
            if self.draw(rate):
                return TASK_ENDS[name]
        return SUCCESS
