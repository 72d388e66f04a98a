"""The rule of routes: an operator sends a model by another family, or by its own again."""

from __future__ import annotations

from collections import Counter

from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.model.kinds import ROUTE, ROUTED_MODEL
from tests.model.model_setup import OPERATOR, ModelSetup
from tests.model.reference import Reference


class RouteRules(RuleBasedStateMachine):
    """What operators do to the route of a model."""

    setup: ModelSetup
    ref: Reference
    seen: Counter[str]

    @rule()
    def change_route(self) -> None:
        """The model is sent by another family, or by its own again; then nothing changes twice."""
        via = ROUTED_MODEL if self.ref.route else ROUTE
        for _ in range(2):
            routed = self.setup.run(
                self.setup.producer.models.route(ROUTED_MODEL, via, actor=OPERATOR)
            )
            assert routed.via == via
        freed = self.ref.routed(None if via == ROUTED_MODEL else via)
        self.seen[f"route {via}"] += 1
        self.seen["a change of the route ended a wait"] += freed
