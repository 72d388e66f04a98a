"""What to do about a model that Kie has withdrawn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.alerts.system_state import RedisState, SystemState
from tests.unit.shared.test_alert_rules import PAUSE, ROUTE, WELL, alerts_of

NO_MODEL = replace(PAUSE, reason="model_gone")
LEFT = (
    "pause it until it is back: `darkroom queue pause --model {0}`; or cancel its jobs: `darkroom"
    " jobs cancel --where model={0} --where state=queued`"
)


@pytest.mark.parametrize(
    ("family", "state", "fix"),
    [
        ("4o", WELL, f"`darkroom models route 4o --via market-4o`; else {LEFT.format('4o')}"),
        ("m", WELL, f"install a version that knows the new name; else {LEFT.format('m')}"),
        ("market-4o", replace(WELL, routes=(ROUTE,)), "`darkroom models route 4o --direct`"),
    ],
)
def test_a_withdrawn_model_is_routed_paused_or_given_up(
    family: str, state: SystemState, fix: str
) -> None:
    redis = RedisState(family_pauses=(("default", family, NO_MODEL),))
    [alert] = alerts_of(redis, routes=state.routes)
    assert alert.name == "submits_paused"
    assert f"submits of {family} by the Kie account default are paused" in alert.detail
    assert "(model_gone: 402" in alert.detail
    assert alert.fix.endswith(fix)
