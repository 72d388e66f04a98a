"""The rules of pauses: operators pause and resume whatever they like, whenever they like."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from producer.pauses import PauseScope
from shared.kie_accounts import DEFAULT_ACCOUNT
from tests.model.model_setup import OPERATOR, ModelSetup
from tests.model.reference import Reference, RefPause

MODEL = "gpt-4o-image"
ACCOUNTS = ("acme", "bolt")
SCOPES: tuple[tuple[PauseScope, str | None], ...] = (
    ("everything", None),
    ("model", MODEL),
    ("account", ACCOUNTS[0]),
    ("account", ACCOUNTS[1]),
    ("kie_account", DEFAULT_ACCOUNT),
)
HALF_AN_HOUR_SECONDS = 1_800.0


class PauseRules(RuleBasedStateMachine):
    """What operators do to the queue."""

    setup: ModelSetup
    ref: Reference
    seen: Counter[str]

    @rule(scope=st.sampled_from(SCOPES), reason=st.sampled_from(("one", "two")), ends=st.booleans())
    def pause(self, scope: tuple[PauseScope, str | None], reason: str, ends: bool) -> None:
        """An operator pauses; the same call again returns the first pause."""
        if len(self.ref.active_pauses()) > 1:
            return  # so that most stories have times in which jobs are submitted
        pause = self.setup.run(
            self.setup.producer.pauses.pause(
                *scope,
                reason=reason,
                for_seconds=HALF_AN_HOUR_SECONDS if ends else None,
                actor=OPERATOR,
            )
        )
        wanted = RefPause(pause.id, *scope, reason, ends)
        known = self.ref.find_pause(wanted)
        if known is None:
            assert pause.id not in {one.id for one in self.ref.pauses}
            self.ref.pauses.append(wanted)
        else:
            assert pause.id == known.id
        self.seen[f"pause of {scope[0]}{' again' if known else ''}"] += 1

    @precondition(lambda self: self.ref.pauses)
    @rule(pick=st.integers(0, 999))
    def resume(self, pick: int) -> None:
        """An operator ends a pause by its id, perhaps one that has ended."""
        pause = self.ref.pauses[pick % len(self.ref.pauses)]
        told = self.setup.run(self.setup.producer.pauses.resume(pause.id, actor=OPERATOR))
        assert (told.id, told.is_active) == (pause.id, False)
        pause.is_active = False
        self.seen["resume"] += 1

    @rule(scope=st.sampled_from(SCOPES))
    def resume_scope(self, scope: tuple[PauseScope, str | None]) -> None:
        """An operator ends every pause of exactly this scope."""
        ended = self.setup.run(self.setup.producer.pauses.resume_scope(*scope, actor=OPERATOR))
        own = [one for one in self.ref.active_pauses() if (one.scope, one.value) == scope]
        assert {one.id for one in ended} == {one.id for one in own}
        for one in own:
            one.is_active = False

    def _end_pauses_by_time(self) -> None:
        """Let an hour pass for the pauses that end by themselves."""
        self.setup.run(
            self.setup.rows(
                "UPDATE pauses SET paused_at = paused_at - interval '1 h',"
                " until = until - interval '1 h' WHERE until IS NOT NULL"
            )
        )
        for pause in self.ref.pauses:
            if pause.ends_by_itself and pause.is_active:
                pause.is_active = False
                self.seen["pause ended by itself"] += 1
