"""The reference: what must become of jobs and credits, in plain Python, without a database.

Written from the documents, not from the SQL: states and their money after docs/lifecycle.md,
charges after the declared basis. The model test holds the database equal to it after each step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import pytest

from shared.domain.job import Job, Priority
from shared.errors import WouldLeaveDebt
from shared.settings import ChargeBasis
from tests.model.kinds import KINDS, ROUTE, Kind
from tests.model.reference_order import RefOrder

SEEDED_PRICES = dict(zip(KINDS, map(Decimal, (6, 7, 8, 5, 9)), strict=True))
ENDED = {"succeeded", "failed", "cancelled"}
_ROUTE_WAITS = {"wrong_endpoint", "model_gone", "route_unfit"}
LIVE_OUTCOMES = {None, "accepted", "unknown", "lost"}


@dataclass(slots=True)
class RefAttempt:
    """One paid POST as it must be in the database."""

    number: int
    token: str
    own_task: str
    """The task that Kie makes of it, if it makes one."""
    route: str | None = None
    """The family that sends it; None: that of its model."""
    outcome: str | None = None
    stored_task: str | None = None


@dataclass(slots=True, eq=False)
class RefLateTask:
    """A task that its job does not wait for."""

    token: str
    task: str
    is_claimed: bool
    outcome: str | None = None
    is_due: bool = False
    is_in_doubt: bool = False
    """Whether it delivered and Kie does not show whose it is."""


@dataclass(slots=True)
class RefJob:
    """One job as it must be."""

    id: UUID
    account: str
    kind: Kind
    quoted: Decimal
    prices_then: dict[Kind, Decimal]
    key: str | None
    priority: Priority = "normal"
    state: str = "queued"
    reason: str | None = None
    charged: Decimal | None = None
    progress: float = 0.0
    task: str | None = None
    images: int = 0
    is_due: bool = True
    is_old: bool = False
    """Whether its newest attempt is older than the limit for unknown submissions."""
    attempts: list[RefAttempt] = field(default_factory=list)
    late_tasks: dict[tuple[int, str], RefLateTask] = field(default_factory=dict)
    was_settled_elsewhere: bool = False
    """Whether an operator has settled it, and no poll has found that out."""
    refunded: Decimal | None = None
    cancel_reason: str | None = None
    """Who wanted it back while it was at Kie."""
    retry: UUID | None = None
    """The job that repeats its request."""
    notes: Counter[str] = field(default_factory=Counter)
    """The rows of its history that no state shows, by their event."""
    snapshots: list[Job] = field(default_factory=list)
    """Its earlier states, which a suspended worker may still assume."""

    @property
    def newest(self) -> RefAttempt:
        return self.attempts[-1]

    @property
    def is_in_doubt(self) -> bool:
        """Whether an operator may have to settle it, or one of its late tasks."""
        doubts = any(late.is_in_doubt for late in self.late_tasks.values())
        return doubts or self.is_under_review

    @property
    def is_under_review(self) -> bool:
        """Whether it waits for an operator, or for an answer that can be read."""
        return self.state == "generating" and self.reason == "result_unreadable"

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


@dataclass(slots=True)
class RefAccount:
    """What an account must have."""

    balance: Decimal
    held: Decimal = Decimal(0)


@dataclass(slots=True)
class RefCallback:
    """One row that must be in the inbox."""

    id: int
    job: RefJob
    attempt: RefAttempt
    claimed: str
    verdict: str | None = None


@dataclass(slots=True)
class RefPause:
    """A pause as it must be."""

    id: int
    scope: str
    value: str | None
    reason: str
    ends_by_itself: bool
    is_active: bool = True

    def applies_to(self, job: RefJob) -> bool:
        """Whether it keeps the job from being submitted. There is one Kie account."""
        subject = {"account": job.account, "model": job.kind.model}.get(self.scope, self.value)
        return self.is_active and self.value == subject


class Reference:
    """Every job and account, moved by the same events as the database."""

    def __init__(self) -> None:
        self.prices = dict(SEEDED_PRICES)
        self.scheduled: dict[int, tuple[Kind, Decimal]] = {}
        """The kind and the price of each change that waits, by its id."""
        self.accounts: dict[str, RefAccount] = {}
        self.jobs: dict[UUID, RefJob] = {}
        self.callbacks: list[RefCallback] = []
        self.pauses: list[RefPause] = []
        self.order = RefOrder()
        self.route: str | None = None
        """The family by which the model is sent that another can send; None: its own."""

    def active_pauses(self) -> list[RefPause]:
        """Return the pauses that hold now."""
        return [one for one in self.pauses if one.is_active]

    def find_pause(self, wanted: RefPause) -> RefPause | None:
        """Return the active pause that a call for this one returns instead of a new one."""
        return next(
            (
                one
                for one in self.active_pauses()
                if (one.scope, one.value, one.reason) == (wanted.scope, wanted.value, wanted.reason)
                and not one.ends_by_itself
            ),
            None,
        )

    def is_submitted(self, job: RefJob) -> bool:
        """Whether a delivery of this queued job is submitted now."""
        return self.is_awaited(job) and job.kind.is_carried(self.route)

    def is_read(self, job: RefJob) -> bool:
        """Whether a queued job is due and no pause applies, but perhaps one of a Kie account."""
        pauses = [one for one in self.active_pauses() if one.scope != "kie_account"]
        return job.is_due and not any(one.applies_to(job) for one in pauses)

    def is_awaited(self, job: RefJob) -> bool:
        """Whether a queued job is due and not paused."""
        return job.is_due and not any(one.applies_to(job) for one in self.pauses)

    def found_unfit(self, job: RefJob) -> None:
        """Let a job wait that its route cannot carry; said once."""
        job.notes["route_unfit"] += job.reason != "route_unfit"
        job.reason, job.is_due = "route_unfit", False
        self.order.chosen.discard(job.id)

    def routed(self, route: str | None) -> int:
        """Change the route. Returns how many jobs wait no more."""
        self.route = route
        waiting = [
            job
            for job in self.jobs_in("queued")
            if job.kind.family_by(ROUTE) and not job.is_due and job.reason in _ROUTE_WAITS
        ]
        for job in waiting:
            job.reason, job.is_due = None, True
        return len(waiting)

    def jobs_in(self, *states: str) -> list[RefJob]:
        """Return the jobs in these states, oldest first."""
        return [job for job in self.jobs.values() if job.state in states]

    def attempts(self) -> Iterator[tuple[RefJob, RefAttempt]]:
        """Return all attempts."""
        return ((job, attempt) for job in self.jobs.values() for attempt in job.attempts)

    @contextmanager
    def granting(self, account: str, credits: Decimal) -> Iterator[None]:
        """Expect a refusal of the grant in the block if it leaves a debt, else success."""
        money = self.accounts[account]
        if credits < 0 and money.balance - money.held + credits < 0:
            with pytest.raises(WouldLeaveDebt):
                yield
        else:
            yield
            money.balance += credits

    def has_room(self, account: str, kinds: Sequence[Kind]) -> bool:
        """Return whether the account can hold all of these at today's prices."""
        money = self.accounts[account]
        return money.balance - money.held >= sum(self.prices[one] for one in kinds)

    def enqueued(
        self, job_id: UUID, account: str, kind: Kind, key: str | None, priority: Priority = "normal"
    ) -> None:
        price = self.prices[kind]
        job = RefJob(job_id, account, kind, price, dict(self.prices), key, priority)
        self.jobs[job_id] = job
        self.accounts[account].held += price
        self.order.placed(self, job)

    def find_refund(self, job: RefJob, credits: Decimal | None) -> Decimal | None:
        """Return what a refund of so many credits must give back, or None if it is refused."""
        charge = job.charged or Decimal(0)
        given = charge if credits is None else credits
        return given if job.refunded is None and 0 < given <= charge else None

    def refunded(self, job: RefJob, credits: Decimal) -> None:
        job.refunded = credits
        self.accounts[job.account].balance += credits

    # --- the attempt --------------------------------------------------------------------------

    def claimed(self, job: RefJob, token: str, own_task: str) -> RefAttempt:
        job.state, job.reason, job.is_old = "submitting", None, False
        self.order.chosen.discard(job.id)
        route = job.kind.family_by(self.route)
        job.attempts.append(RefAttempt(len(job.attempts) + 1, token, own_task, route))
        return job.newest

    def submitted(self, job: RefJob, task: str) -> None:
        job.state, job.reason, job.task = "generating", None, task
        job.newest.outcome, job.newest.stored_task = "accepted", task

    def deferred(self, job: RefJob, reason: str) -> None:
        if job.cancel_reason is not None:
            self.ended(job, "cancelled", job.cancel_reason)
            job.newest.outcome = "deferred"
            return
        job.state, job.reason = "queued", reason
        self.order.chosen.add(job.id)
        has_new_route = job.newest.route != job.kind.family_by(self.route)
        job.is_due = reason in {"wrong_endpoint", "model_gone"} and has_new_route
        job.newest.outcome = "deferred"

    def became_unknown(self, job: RefJob, reason: str) -> None:
        job.state, job.reason = "unknown", reason
        job.newest.outcome = "unknown"

    def replied(self, job: RefJob, attempt: RefAttempt, kind: str, reason: str) -> bool:
        """Let an answer of Kie to a POST come; return whether it moves the job."""
        is_awaited = job.state == "submitting" or (job.state == "unknown" and kind != "ambiguous")
        if attempt is not job.newest or not is_awaited:
            if kind == "accepted":
                self.stray_came(job, attempt)
            return False
        match kind:
            case "accepted":
                self.submitted(job, attempt.own_task)
            case "deferred":
                self.deferred(job, reason)
            case "rejected":
                self.ended(job, "failed", reason)
                attempt.outcome = "rejected"
            case "ambiguous":
                self.became_unknown(job, reason)
        return True

    def held(self, job: RefJob) -> None:
        """Keep the hold of a success that cannot be read; said once."""
        job.notes["held_for_review"] += job.reason != "result_unreadable"
        job.reason = "result_unreadable"

    # --- the end ------------------------------------------------------------------------------

    def cancelled(self, job: RefJob, reason: str) -> bool:
        """Cancel a queued job, or note who wants one at Kie back. Return whether it is new."""
        if job.state == "queued":
            self.ended(job, "cancelled", reason)
        elif not job.has_ended and job.cancel_reason is None:
            job.cancel_reason = reason
            job.notes["cancel_requested"] += 1
        else:
            return False
        return True

    def ended(self, job: RefJob, state: str, reason: str) -> None:
        """End the job without images."""
        job.state, job.reason = state, reason
        self.accounts[job.account].held -= job.quoted

    def lost(self, job: RefJob) -> None:
        self.given_up(job, "submission_lost")
        job.newest.outcome = "lost"

    def succeeded(self, job: RefJob, images: int, basis: ChargeBasis) -> None:
        charge = self.charge(job, images, basis)
        account = self.accounts[job.account]
        account.held -= job.quoted
        account.balance -= charge
        job.state, job.reason, job.charged = "succeeded", None, charge
        job.progress, job.images = 1.0, images

    def charge(self, job: RefJob, images: int, basis: ChargeBasis) -> Decimal:
        """Return the charge of the images: by their price, else by that of the requested kind."""
        delivered = job.kind._replace(quantity=min(images, job.kind.quantity))
        current = self.prices.get(delivered, self.prices[job.kind])
        quoted = job.prices_then.get(delivered, job.quoted)
        return {"current": current, "quoted": quoted, "lower_of": min(current, quoted)}[basis]

    # --- callbacks and late tasks -------------------------------------------------------------

    def handle_callback(
        self, callback: RefCallback, makers: Mapping[str, str] | None, says: str
    ) -> None:
        """Handle a callback. `makers` has the token of each task, and is None if Kie is silent."""
        job, attempt = callback.job, callback.attempt
        is_newest = attempt is job.newest
        if job.state == "unknown" and is_newest:
            self._judge_unknown(callback, makers)
        elif job.state == "submitting" and is_newest:
            callback.verdict = None
        elif job.state == "generating" and is_newest and job.task == callback.claimed:
            callback.verdict = "hastened"
        elif self._has_its_verdict(callback, says):
            callback.verdict = "late"
        else:
            is_claimed = attempt.stored_task != callback.claimed
            noted = self.noted(job, attempt, callback.claimed, is_claimed=is_claimed)
            if noted.outcome == "failed":  # Kie has changed its mind once: asked again
                noted.outcome = None
            noted.is_due = noted.outcome is None
            checked = self.checked(job, makers, says)
            outcome = noted.outcome if noted in checked else None
            verdicts = {"delivered": "late_success", "refuted": "refuted"}
            callback.verdict = verdicts.get(outcome or "", "late")

    @staticmethod
    def _has_its_verdict(callback: RefCallback, says: str) -> bool:
        """Return whether Kie has decided about the task, and the decision stands."""
        job = callback.job
        if job.state == "succeeded":
            return job.task == callback.claimed
        return job.reason in {"provider_failed", "content_policy"} and says != "delivered"

    def _judge_unknown(self, callback: RefCallback, makers: Mapping[str, str] | None) -> None:
        if makers is None:
            return
        if makers.get(callback.claimed) != callback.attempt.token:
            callback.verdict = "refuted"
            return
        self.submitted(callback.job, callback.claimed)
        callback.verdict = "confirmed"

    def noted(
        self, job: RefJob, attempt: RefAttempt, task: str, *, is_claimed: bool
    ) -> RefLateTask:
        """Record a late task, if it is not recorded yet."""
        return job.late_tasks.setdefault(
            (attempt.number, task), RefLateTask(attempt.token, task, is_claimed)
        )

    def stray_came(self, job: RefJob, attempt: RefAttempt) -> None:
        """Store a late task id as evidence, if there is none yet."""
        if attempt.stored_task != attempt.own_task:
            noted = self.noted(job, attempt, attempt.own_task, is_claimed=False)
            if noted.outcome is None:
                noted.is_claimed = False
        attempt.stored_task = attempt.stored_task or attempt.own_task

    def given_up(self, job: RefJob, reason: str) -> None:
        """End a job of which a task may deliver yet."""
        self.ended(job, "failed", reason)
        if job.newest.stored_task is not None:
            self.noted(job, job.newest, job.newest.stored_task, is_claimed=False)
        for callback in self.callbacks:
            if callback.job is job and callback.verdict is None:
                self.noted(job, callback.attempt, callback.claimed, is_claimed=True)

    def open_late_tasks(self) -> list[RefLateTask]:
        """Return the tasks of ended jobs of which Kie has not said what became of them."""
        ended = (job for job in self.jobs.values() if job.has_ended)
        return [one for job in ended for one in job.late_tasks.values() if one.outcome is None]

    def checked(
        self, job: RefJob, makers: Mapping[str, str] | None, says: str
    ) -> list[RefLateTask]:
        """Let the due late tasks of an ended job be asked about; Kie says the same of each."""
        if not job.has_ended:
            return []
        due = [one for one in job.late_tasks.values() if one.outcome is None and one.is_due]
        for late in due:
            late.is_due = False
            if late.is_claimed and makers is not None and makers.get(late.task) != late.token:
                late.outcome = "refuted"
            elif late.is_claimed and makers is None:
                late.outcome = None if says == "pending" else "unproven"
                late.is_in_doubt = says == "delivered" and not self._is_held(job, late.task)
            elif says == "delivered":
                late.outcome = "refuted" if self._is_held(job, late.task) else "delivered"
            elif says == "failed":
                late.outcome = "failed"
            if late.outcome in {"delivered", "failed"}:
                job.notes[f"{late.outcome}_late"] += 1
        return due

    def settles_late(self, job: RefJob, images: int) -> bool:
        """Settle the one late task of an ended job that is in doubt, if there is one."""
        doubts = [one for one in job.late_tasks.values() if one.is_in_doubt]
        if not job.has_ended or len(doubts) != 1:
            return False
        (late,) = doubts
        if images and self._is_kept(job, late.task):
            return False
        late.is_in_doubt, late.outcome = False, "delivered" if images else "dismissed"
        job.notes["delivered_late"] += bool(images)
        return True

    def _is_kept(self, job: RefJob, task: str) -> bool:
        """Whether its images are a job's already, or were kept as late ones."""
        return self._is_held(job, task) or any(
            late.task == task and late.outcome == "delivered"
            for one in self.jobs.values()
            for late in one.late_tasks.values()
        )

    def _is_held(self, job: RefJob, task: str) -> bool:
        return any(
            one.task == task and (one is not job or one.state == "succeeded")
            for one in self.jobs.values()
        )
