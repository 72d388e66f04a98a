"""The rules of scheduled prices and refunds."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from producer import AlreadyRefunded, RefundTooLarge
from tests.model.kinds import KINDS, Kind
from tests.model.model_setup import OPERATOR, ModelSetup
from tests.model.reference import Reference

PARTS = (None, Decimal("0.5"), Decimal(2))
"""Of a charge that is refunded: None for all of it; more than 1 is refused."""
_PRICES = tuple(map(Decimal, ("0", "5.5", "7", "40")))
_PICKS = st.integers(0, 999)


class MoneyRules(RuleBasedStateMachine):
    """What admins do beside changing prices by hand."""

    setup: ModelSetup
    ref: Reference
    seen: Counter[str]

    @rule(kind=st.sampled_from(KINDS), credits=st.sampled_from(_PRICES))
    def schedule_price(self, kind: Kind, credits: Decimal) -> None:
        """An admin schedules a change."""
        scheduled = self.setup.run(
            self.setup.producer.billing.price_changes.schedule(
                kind.price_key,
                credits,
                at=datetime.now(UTC) + timedelta(days=1),
                reason="a plan",
                confirmed=True,
                actor=OPERATOR,
            )
        )
        self.ref.scheduled[scheduled["id"]] = (kind, credits)

    @precondition(lambda self: self.ref.scheduled)
    @rule(pick=_PICKS, is_revoked=st.sampled_from((False, False, True)), has_worker=st.booleans())
    def time_of_a_price_comes(self, pick: int, is_revoked: bool, has_worker: bool) -> None:
        """The time of a change comes, or it is revoked before. A worker may be alive or not."""
        number = list(self.ref.scheduled)[pick % len(self.ref.scheduled)]
        kind, credits = self.ref.scheduled.pop(number)
        if is_revoked:
            self.setup.run(self.setup.producer.billing.price_changes.unschedule(number))
        else:
            self.ref.prices[kind] = credits
        self.setup.run(self.setup.let_price_come(number))
        if has_worker:
            self.setup.run(self.setup.database.fetch_row("apply_scheduled_prices"))
        self.seen[f"scheduled price {'revoked' if is_revoked else 'came'}"] += 1

    @precondition(lambda self: any(job.charged for job in self.ref.jobs.values()))
    @rule(pick=_PICKS, part=st.sampled_from(PARTS))
    def refund(self, pick: int, part: Decimal | None) -> None:
        """An admin gives back a charge: whole, in part, or more than it was; or of any job."""
        among = [job for job in self.ref.jobs.values() if job.charged or pick % 5 == 0]
        job = among[pick % len(among)]
        credits = None if part is None else (job.charged or Decimal(1)) * part
        wanted = self.ref.find_refund(job, credits)
        try:
            self.setup.run(self.setup.producer.billing.refund(job.id, credits, reason="blurred"))
        except (AlreadyRefunded, RefundTooLarge):
            assert wanted is None
            self.seen["refund refused"] += 1
        else:
            assert wanted is not None
            self.ref.refunded(job, wanted)
            self.seen["refund"] += 1
