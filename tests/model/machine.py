"""The rules of the model test: every action of callers, workers, Kie and operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from producer import (
    IdempotencyConflict,
    InsufficientCredits,
    InvalidRequest,
    Order,
)
from shared.domain.job import Priority
from shared.domain.kie_outcomes import (
    Delivered,
    NoVerdict,
    Pending,
    PollOutcome,
    TaskFailed,
    Unreadable,
)
from shared.domain.lifecycle import transition_of
from shared.errors import StaleJob
from shared.settings import ChargeBasis
from tests.model.agreement import Agreement
from tests.model.answers import ANSWERS, SUBMIT_ANSWERS
from tests.model.cancels_and_retries import PICKS, CancelsAndRetries, pick_one
from tests.model.kinds import KINDS, Kind
from tests.model.length import INVARIANTS_EVERY_STEPS, IS_LONG
from tests.model.model_setup import DEADLINE_SECONDS, LEASE_SECONDS, ModelSetup, Post
from tests.model.money_rules import MoneyRules
from tests.model.order_rules import OrderRules
from tests.model.pause_rules import ACCOUNTS, PauseRules
from tests.model.reference import SEEDED_PRICES, RefAccount, RefCallback, Reference, RefJob
from tests.model.reference_order import PRIORITIES
from tests.model.route_rules import RouteRules
from tests.model.stale_writes import WRITES
from worker.steps.unreadable_success import UNREADABLE_ANSWERS_BEFORE_REVIEW

KIND = st.sampled_from(KINDS)
PRICES = st.sampled_from([Decimal(one) for one in ("0", "1", "5.5", "6", "7", "8", "40")])
BASES: st.SearchStrategy[ChargeBasis] = st.sampled_from(("current", "quoted", "lower_of"))
_LAST_LOOKS_ARE_OVER_SECONDS = DEADLINE_SECONDS + 301
LATE_SAYS: dict[str, PollOutcome] = {
    "delivered": Delivered(("https://images.example/0.png", "https://images.example/1.png")),
    "failed": TaskFailed("provider_failed", "no images"),
    "pending": Pending(0.5),
}
LATE_SECONDS = (0.0, DEADLINE_SECONDS + 1, _LAST_LOOKS_ARE_OVER_SECONDS)


def _urls(count: int) -> tuple[str, ...]:
    return tuple(f"https://images.example/{number}.png" for number in range(count))


def _some(*states: str) -> Callable[[JobRules], bool]:
    return lambda machine: bool(machine.ref.jobs_in(*states))


class JobRules(CancelsAndRetries, MoneyRules, OrderRules, PauseRules, RouteRules):
    """Every rule changes the database by the real code, and the reference by its own code."""

    def __init__(self, setup: ModelSetup, seen: Counter[str]) -> None:
        super().__init__()
        self.setup, self.seen = setup, seen
        self.ref = Reference()
        self.agreement = Agreement(setup, self.ref)

    def teardown(self) -> None:
        """Leave nothing behind for the next example, and count what became of the jobs."""
        self.seen.update(job.state for job in self.ref.jobs.values())
        self.seen.update(f"reason {job.reason}" for job in self.ref.jobs.values() if job.reason)
        self.seen.update(f"callback {one.verdict}" for one in self.ref.callbacks)
        try:
            self.setup.run(self.agreement.check_invariants())
        finally:
            self.setup.run(self.setup.clear())

    @invariant()
    def database_and_reference_agree(self) -> None:
        """Compare everything, and the invariants too where it is their turn."""
        self.setup.run(self.agreement.check())
        self.seen["steps compared"] += 1
        if IS_LONG or self.seen["steps compared"] % INVARIANTS_EVERY_STEPS == 0:
            self.setup.run(self.agreement.check_invariants())

    # --- callers and admins -------------------------------------------------------------------

    @initialize(
        starts=st.lists(
            st.sampled_from(("queued", "submitting", "generating", "unknown")),
            min_size=2,
            max_size=5,
        )
    )
    def open(self, starts: list[str]) -> None:
        """Two accounts, one of them poor, the seeded prices, and some jobs on their way."""
        billing = self.setup.producer.billing
        for name, credits in zip(ACCOUNTS, (60, 14), strict=True):
            self.setup.run(billing.create_account(name))
            self.setup.run(billing.grant(name, Decimal(credits), "for the test"))
            self.ref.accounts[name] = RefAccount(Decimal(credits))
        for kind, price in SEEDED_PRICES.items():
            self._set_price(kind, price)
        for number, start in enumerate(starts):
            self.enqueue("acme", [(Kind(4), Kind(2), Kind(1, "2K"))[number % 3]], has_keys=True)
            if start != "queued":
                self.submit(0, 1)
            if start in {"generating", "unknown"}:
                self.kie_answers(-1, "accepted" if start == "generating" else "lost")

    def _set_price(self, kind: Kind, credits: Decimal) -> None:
        self.setup.run(self.setup.type_price(kind.price_key, credits))
        self.ref.prices[kind] = credits

    @rule(kind=KIND, credits=PRICES)
    def change_price(self, kind: Kind, credits: Decimal | int) -> None:
        """An admin types an UPDATE."""
        self._set_price(kind, Decimal(credits))

    @rule(account=st.sampled_from(ACCOUNTS), credits=st.sampled_from((20, 5, -7)))
    def grant(self, account: str, credits: int) -> None:
        """Credits come, or are taken back."""
        with self.ref.granting(account, Decimal(credits)):
            self.setup.run(self.setup.producer.billing.grant(account, Decimal(credits), "a reason"))

    @rule(
        account=st.sampled_from(ACCOUNTS),
        kinds=st.lists(KIND, min_size=1, max_size=3),
        has_keys=st.booleans(),
        priority=st.sampled_from(PRIORITIES),
    )
    def enqueue(
        self, account: str, kinds: list[Kind], has_keys: bool, priority: Priority = "normal"
    ) -> None:
        """One call with one to three orders: all or none."""
        orders = [
            Order(
                request=kind.build_request(),
                account_id=account,
                idempotency_key=uuid4().hex if has_keys else None,
                priority=priority,
            )
            for kind in kinds
        ]
        has_room = self.ref.has_room(account, kinds)
        is_carried = all(kind.is_carried(self.ref.route) for kind in kinds)
        try:
            jobs = self.setup.run(self.setup.producer.enqueue_many(orders))
        except InsufficientCredits:
            assert is_carried
            assert not has_room
            return
        except InvalidRequest:
            assert not is_carried
            self.seen["an order that no route carries was refused"] += 1
            return
        assert has_room
        assert is_carried
        for job, kind in zip(jobs, kinds, strict=True):
            assert (job.model, job.quantity, job.variant) == (kind.model, *kind)
            self.ref.enqueued(job.id, account, kind, job.idempotency_key, priority)

    @precondition(lambda self: any(job.key for job in self.ref.jobs.values()))
    @rule(pick=PICKS, kind=KIND)
    def enqueue_again(self, pick: int, kind: Kind) -> None:
        """The same key comes again, with the same request or another."""
        first = pick_one(pick, [job for job in self.ref.jobs.values() if job.key])
        order = Order(
            request=kind.build_request(),
            account_id=first.account,
            idempotency_key=first.key,
            priority=first.priority,
        )
        refusal = None
        try:
            (job,) = self.setup.run(self.setup.producer.enqueue_many([order]))
        except IdempotencyConflict as error:
            refusal = (error.job_id, error.differs)
        if kind == first.kind:
            assert (refusal, job.id) == (None, first.id)
        else:
            assert refusal is not None
            assert refusal[0] == str(first.id)
            assert {"model", "quantity", "resolution"} & set(refusal[1])

    # --- workers ------------------------------------------------------------------------------

    @precondition(_some("queued"))
    @rule(pick=PICKS, workers=st.sampled_from((1, 1, 1, 2)))
    def submit(self, pick: int, workers: int) -> None:
        """A queued job is delivered to a worker, or to two at once."""
        job = pick_one(pick, self.ref.jobs_in("queued"))
        begun = self.setup.run(self.setup.deliver(job.id, workers=workers))
        assert len(begun) == self.ref.is_submitted(job)
        if self.ref.is_read(job) and not job.kind.is_carried(self.ref.route):
            # A worker finds that out before its claim finds a pause of the Kie account.
            self.ref.found_unfit(job)
            self.seen["a job waits for a route that carries it"] += 1
        self.seen["a paused job was not submitted"] += job.is_due and not begun
        for post in begun:
            own_task = f"task-{uuid4().hex}"
            self.ref.claimed(job, post.token, own_task)
            self.setup.kie.makers[own_task] = post.token

    @precondition(_some("queued"))
    @rule(pick=PICKS, answer=ANSWERS)
    def submit_and_answer(self, pick: int, answer: str) -> None:
        """The everyday case: a worker submits, and Kie answers at once."""
        if self.ref.is_submitted(pick_one(pick, self.ref.jobs_in("queued"))):
            self.submit(pick, 1)
            self.kie_answers(-1, answer)

    @precondition(_some("submitting", "unknown", "generating", "succeeded", "failed"))
    @rule(pick=PICKS, lease_is_over=st.booleans())
    def deliver_again(self, pick: int, lease_is_over: bool) -> None:
        """A delivery comes twice, or comes back after its worker's lease."""
        others = ("unknown", "generating", "succeeded", "failed")
        job = pick_one(pick, self.ref.jobs_in("submitting") or self.ref.jobs_in(*others))
        lease_seconds = 0.0 if lease_is_over else LEASE_SECONDS
        assert not self.setup.run(self.setup.deliver(job.id, lease_seconds=lease_seconds))
        if job.state == "submitting" and (lease_is_over or job.is_old):
            self.ref.became_unknown(job, "worker_lost")

    @precondition(lambda self: self.setup.hanging())
    @rule(pick=PICKS, answer=ANSWERS)
    def kie_answers(self, pick: int, answer: str) -> None:
        """Kie answers a POST, in any state of its job."""
        post = pick_one(pick, self.setup.hanging())
        job = self.ref.jobs[post.job_id]
        attempt = next(one for one in job.attempts if one.token == post.token)
        outcome, kind, reason = SUBMIT_ANSWERS[answer](attempt.own_task)
        post.made_nothing = kind in {"deferred", "rejected"}
        self.setup.run(self.setup.reply(post, outcome))
        was_awaited = self.ref.replied(job, attempt, kind, reason)
        self.seen[f"reply {answer}{'' if was_awaited else ', too late'}"] += 1
        self.seen["cancelled by its deferral"] += was_awaited and job.state == "cancelled"

    @precondition(lambda self: self.setup.hanging())
    @rule(pick=PICKS)
    def worker_crashes(self, pick: int) -> None:
        """A worker dies between its claim and Kie's answer."""
        post: Post = pick_one(pick, self.setup.hanging())
        self.setup.run(self.setup.crash(post))
        self.seen["crash"] += 1

    @precondition(lambda self: any(job.attempts for job in self.ref.jobs.values()))
    @rule(pick=PICKS, older=PICKS, event=st.sampled_from(sorted(WRITES, key=str)))
    def sleeper_writes(self, pick: int, older: int, event: type[Any]) -> None:
        """A worker that was suspended writes from its old state. It must write nothing."""
        memories = [one for job in self.ref.jobs.values() for one in job.snapshots if one.attempt]
        if not memories:
            return
        # Every second time for an older attempt, if there is one, to test the fence.
        fenced = [one for one in memories if one.attempt < len(self.ref.jobs[one.id].attempts)]
        memory = pick_one(pick, fenced if fenced and older % 2 else memories)
        job = self.ref.jobs[memory.id]
        is_newest = memory.attempt == len(job.attempts)
        if is_newest and job.state in transition_of(event).sources:
            return  # not stale: other rules do this
        task = job.attempts[memory.attempt - 1].own_task
        try:
            self.setup.run(_as_coroutine(WRITES[event](self.setup.store, memory, task)))
        except StaleJob:
            self.seen["stale write" if is_newest else "fenced write"] += 1
        else:
            raise AssertionError(f"{event.__name__} of attempt {memory.attempt} moved {job}")
        if event.__name__ == "Submitted":
            self.ref.stray_came(job, job.attempts[memory.attempt - 1])

    # --- Kie's answers -----------------------------------------------------------------------

    def _poll(self, job: RefJob, outcome: Any, **options: Any) -> None:
        before = len(self.setup.kie.asked_about)
        options = {"basis": "current", **options}
        try:
            self.setup.run(self.setup.poll(job.id, outcome, **options))
        except StaleJob:
            assert job.was_settled_elsewhere
            self.seen["poll after an operator"] += 1
        asked = self.setup.kie.asked_about[before:]
        if job.was_settled_elsewhere:
            assert asked in ([], [job.task])
            job.was_settled_elsewhere = False
        else:
            assert asked == ([job.task] if job.state == "generating" else [])
            if asked:
                family = job.newest.route or job.kind.model
                assert self.setup.kie.asked_families[-1] == family

    @precondition(_some("generating"))
    @rule(pick=PICKS, images=st.integers(1, 5), basis=BASES)
    def kie_delivers(self, pick: int, images: int, basis: ChargeBasis) -> None:
        """As many images as asked, fewer, or more."""
        job = pick_one(pick, self.ref.jobs_in("generating"))
        self._poll(job, Delivered(_urls(images)), basis=basis)
        self.seen[f"{basis}, {'fewer' if images < job.kind.quantity else 'enough'}"] += 1
        self.ref.succeeded(job, images, basis)

    @precondition(_some("generating"))
    @rule(pick=PICKS, reason=st.sampled_from(("provider_failed", "content_policy")))
    def kie_fails(self, pick: int, reason: str) -> None:
        """Kie's outcome is failure."""
        job = pick_one(pick, self.ref.jobs_in("generating"))
        self._poll(job, TaskFailed(reason, "no images"))
        self.ref.ended(job, "failed", reason)

    @precondition(_some("generating"))
    @rule(
        pick=PICKS,
        outcome=st.sampled_from((Pending(0.0), Pending(0.25), Pending(1.0), NoVerdict("502"))),
        late_seconds=st.sampled_from(LATE_SECONDS),
    )
    def kie_is_not_done(self, pick: int, outcome: Pending | NoVerdict, late_seconds: float) -> None:
        """Still generating, or nothing to be understood: before or after the deadline.

        What decides nothing is never held against the job while a last look may still come.
        """
        job = pick_one(pick, self.ref.jobs_in("generating"))
        self._poll(job, outcome, late_seconds=late_seconds)
        limit_seconds = _LAST_LOOKS_ARE_OVER_SECONDS
        if isinstance(outcome, Pending):
            job.progress = max(outcome.progress, job.progress)
            limit_seconds = DEADLINE_SECONDS + 1
        if late_seconds >= limit_seconds and job.reason != "result_unreadable":
            self.ref.given_up(job, "deadline_exceeded")

    @precondition(_some("generating"))
    @rule(pick=PICKS, late_seconds=st.sampled_from(LATE_SECONDS))
    def kie_cannot_be_read(self, pick: int, late_seconds: float) -> None:
        """Kie reports a success whose images are not certain: held, whatever the time."""
        job = pick_one(pick, self.ref.jobs_in("generating"))
        for _ in range(UNREADABLE_ANSWERS_BEFORE_REVIEW):
            outcome = Unreadable("two fields name different images", "{}")
            self._poll(job, outcome, late_seconds=late_seconds)
        self.ref.held(job)

    @precondition(lambda self: any(job.state != "generating" for job in self.ref.jobs.values()))
    @rule(pick=PICKS)
    def poll_comes_late(self, pick: int) -> None:
        """A poll finds the job elsewhere: Kie is asked once more after an operator, else never."""
        elsewhere = [job for job in self.ref.jobs.values() if job.state != "generating"]
        among = [job for job in elsewhere if job.was_settled_elsewhere] or elsewhere
        self._poll(pick_one(pick, among), Delivered(_urls(1)))

    # --- evidence -----------------------------------------------------------------------------

    @precondition(lambda self: any(self.ref.attempts()))
    @rule(pick=PICKS, claim=st.sampled_from(("own", "own", "another's", "forged")), other=PICKS)
    def callback_comes(self, pick: int, claim: str, other: int) -> None:
        """Kie, or an attacker with the token, sends a callback for any attempt. It is stored."""
        job, attempt = pick_one(pick, list(self.ref.attempts()))
        tasks = {
            "own": attempt.own_task,
            "another's": pick_one(other, list(self.ref.attempts()))[1].own_task,
            "forged": f"forged-{other % 3}-{attempt.token}",
        }
        claimed = tasks[claim]
        (row,) = self.setup.run(
            self.setup.database.fetch("receive_callback", attempt.token, claimed, 1_000)
        )
        if row["times"] == 1:
            self.ref.callbacks.append(RefCallback(row["id"], job, attempt, claimed))

    @precondition(lambda self: any(one.verdict is None for one in self.ref.callbacks))
    @rule(pick=PICKS, is_silent=st.sampled_from((False, False, True)), delivered=st.booleans())
    def callback_is_handled(self, pick: int, is_silent: bool, delivered: bool) -> None:
        """A stored callback is confirmed or refuted through record-info."""
        callback = pick_one(pick, [one for one in self.ref.callbacks if one.verdict is None])
        says = "delivered" if delivered else "pending"
        self.setup.run(self.setup.handle_callback(callback.id, LATE_SAYS[says], silent=is_silent))
        makers = None if is_silent else self.setup.kie.makers
        self.ref.handle_callback(callback, makers, says)

    @precondition(lambda self: any(self.ref.open_late_tasks()))
    @rule(is_silent=st.sampled_from((False, False, True)), says=st.sampled_from(sorted(LATE_SAYS)))
    def late_tasks_are_checked(self, is_silent: bool, says: str) -> None:
        """The hour comes when every task that its job does not wait for is asked about again."""
        for late in self.ref.open_late_tasks():
            late.is_due = True
        self.setup.run(self.setup.check_late_tasks(LATE_SAYS[says], silent=is_silent))
        makers = None if is_silent else self.setup.kie.makers
        for job in self.ref.jobs.values():
            for late in self.ref.checked(job, makers, says):
                self.seen[f"late task {late.outcome or 'put off'}"] += 1

    # --- time and operators -------------------------------------------------------------------

    @precondition(_some("queued", "submitting", "unknown"))
    @rule()
    def an_hour_passes(self) -> None:
        """Pauses end, and attempts grow older than the limit for unknown submissions."""
        self._pass_time("due_at = now() - interval '1 s'", "queued")
        self._pass_time("attempted_at = attempted_at - interval '1 h'", "submitting", "unknown")
        self._end_pauses_by_time()
        for job in self.ref.jobs_in("queued"):
            job.is_due = True
        for job in self.ref.jobs_in("submitting", "unknown"):
            job.is_old = True

    def _pass_time(self, change: str, *states: str) -> None:
        statement = f"UPDATE jobs SET {change} WHERE state = ANY($1::text[])"
        self.setup.run(self.setup.rows(statement, list(states)))

    @precondition(_some("unknown"))
    @rule()
    def sweep(self) -> None:
        """The reconciler ends every unknown submission whose limit has passed."""
        self.setup.run(self.setup.sweep_unknown())
        for job in self.ref.jobs_in("unknown"):
            if job.is_old:
                self.ref.lost(job)

    @precondition(lambda self: self.ref.jobs)
    @rule(pick=PICKS, claim=st.sampled_from(("own", "wrong", "taken", "none")))
    def operator_resolves(self, pick: int, claim: str) -> None:
        """An operator decides: the right task, a wrong one, another job's, or none."""
        job = pick_one(pick, self.ref.jobs_in("unknown") or list(self.ref.jobs.values()))
        task = self._task_named(job, claim)
        producer = self.setup.producer
        resolution = (
            producer.resolve_lost(job.id, "not in the log")
            if task is None
            else producer.resolve_submitted(job.id, task)
        )
        is_taken = task in self._tasks_of_others(job)
        try:
            self.setup.run(resolution)
        except InvalidRequest:
            assert job.state != "unknown" or is_taken
            return
        assert job.state == "unknown"
        assert not is_taken
        job.notes["resolved_by_operator"] += 1
        self.seen[f"resolved {claim}"] += 1
        if task is None:
            self.ref.lost(job)
        else:
            self.ref.submitted(job, task)

    @precondition(lambda self: any(job.attempts for job in self.ref.jobs.values()))
    @rule(pick=PICKS, images=st.integers(0, 5), basis=BASES)
    def operator_settles(self, pick: int, images: int, basis: ChargeBasis) -> None:
        """An operator says which images a job in doubt has; of any other job he is refused."""
        jobs = list(self.ref.jobs.values())
        job = pick_one(pick, [job for job in jobs if job.is_in_doubt] or jobs)
        if images:
            urls, producer = _urls(images), self.setup.producer
            resolution = producer.resolve_delivered(job.id, urls, "seen", charge_basis=basis)
        else:
            resolution = self.setup.producer.resolve_undelivered(job.id, "none in the log")
        try:
            self.setup.run(resolution)
        except InvalidRequest:
            assert not job.is_under_review
            assert not self.ref.settles_late(job, images)
            return
        job.notes["resolved_by_operator"] += 1
        if not job.is_under_review:
            assert self.ref.settles_late(job, images)
            self.seen["settled late"] += 1
            return
        job.was_settled_elsewhere = True
        self.seen["settled delivered" if images else "settled undelivered"] += 1
        if images:
            self.ref.succeeded(job, images, basis)
        else:
            self.ref.ended(job, "failed", "result_unreadable")

    def _tasks_of_others(self, job: RefJob) -> list[str]:
        named = [one.task for one in self.ref.jobs.values() if one is not job]
        named += [one.stored_task for holder, one in self.ref.attempts() if holder is not job]
        return [task for task in named if task is not None]

    def _task_named(self, job: RefJob, claim: str) -> str | None:
        if claim == "own" and job.attempts:
            return job.newest.own_task
        if claim == "taken":
            return next(iter(self._tasks_of_others(job)), f"wrong-{job.id}")
        return None if claim == "none" else f"wrong-{job.id}"


async def _as_coroutine(write: Any) -> None:
    await write
