"""The rules of the fair order: workers choose, and admins change weights and limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.model.kinds import Kind
from tests.model.model_setup import ModelSetup
from tests.model.pause_rules import ACCOUNTS
from tests.model.reference import Reference


class OrderRules(RuleBasedStateMachine):
    """What decides which job is submitted next."""

    setup: ModelSetup
    ref: Reference
    seen: Counter[str]
    grant: Callable[[str, int], None]
    enqueue: Callable[..., None]

    @invariant()
    def shares_are_counted_while_accounts_wait(self) -> None:
        """An account that has nothing to be chosen starts anew."""
        self.ref.order.watch(self.ref)

    @rule(places=st.sampled_from((1, 2, 5, 64)))
    def choose(self, places: int) -> None:
        """A worker has room."""
        rows = self.setup.run(self.setup.rows("SELECT id, due_at FROM jobs"))
        order = {UUID(int=row["id"].int): (row["due_at"], row["id"].int) for row in rows}
        self.setup.run(
            self.setup.rows("UPDATE chosen_jobs SET chosen_at = chosen_at - interval '1 min'")
        )
        [row] = self.setup.run(self.setup.database.fetch("choose_jobs", places, []))
        ids = [UUID(int=one.int) for one in row["chosen"]]
        self.ref.order.choose(self.ref, ids, places, order)
        self.seen["chosen"] += len(ids)
        self.seen["shares compared"] += any(len(one) == 2 for one in self.ref.order.given.values())

    @rule(places=st.sampled_from((1, 2)))
    def crowd(self, places: int) -> None:
        """Both accounts place more than is chosen at once, and workers choose some of it."""
        for account in ACCOUNTS:
            self.grant(account, 60)
            self.enqueue(account, [Kind(1)] * 6, has_keys=False)
        for _ in range(4):
            self.choose(places)

    @rule()
    def take_back(self) -> None:
        """The reconciler takes back what is paused."""
        self.setup.run(self.setup.database.fetch("take_back_jobs"))
        before = len(self.ref.order.chosen)
        self.ref.order.taken_back(self.ref)
        self.seen["taken back"] += before - len(self.ref.order.chosen)

    @rule(account=st.sampled_from(ACCOUNTS), weight=st.sampled_from((0.5, 1.0, 3.0)))
    def change_weight(self, account: str, weight: float) -> None:
        """An admin changes the share of an account."""
        self.setup.run(
            self.setup.rows(
                "UPDATE accounts SET weight = $2::float8 WHERE id = $1", account, weight
            )
        )
        self.ref.order.weigh(account, weight)

    @rule(account=st.sampled_from(ACCOUNTS), limit=st.sampled_from((1, 2, None)))
    def limit_open_jobs(self, account: str, limit: int | None) -> None:
        """An admin limits the open jobs of an account."""
        self.setup.run(
            self.setup.rows("UPDATE accounts SET max_open_jobs = $2 WHERE id = $1", account, limit)
        )
        self.ref.order.limits.pop(account, None)
        if limit is not None:
            self.ref.order.limits[account] = limit
        self.seen["limit of open jobs"] += 1
