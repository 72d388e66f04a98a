"""Finds alerts about submits that workers or people have paused, and about routes of models."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from shared.domain.alerts.alert import Alert
from shared.domain.alerts.system_state import RedisState, SubmitPause, SystemState, count_jobs
from shared.domain.lifecycle import Reason

_NO_ACTION_FIX = "nothing: it recovers by itself; if it lasts, ask Kie"
UNREACHABLE_FIX = (
    "nothing: it recovers by itself; if it lasts, check the way to Kie: KIE_BASE_URL, DNS, and the"
    " proxy of HTTPS_PROXY or ALL_PROXY with its password"
)
_UNCERTAIN_COST_FIX = (
    "see Kie's log page: each of these may have been paid for; submits go on by themselves once one"
    " goes well"
)
_PAUSE_FIXES: dict[str, str] = {
    Reason.ACCOUNT_REFUSED: "fix the Kie account: its key, its credits or its cap",
    Reason.RATE_LIMITED: "nothing: it recovers by itself; if it lasts, lower"
    " KIE_SUBMITS_PER_10_SECONDS, or find who else uses the key",
    Reason.WRONG_ENDPOINT: "compare KIE_BASE_URL, proxy and DNS with Kie's documentation; if Kie"
    " has moved the endpoint, install a version that knows the new one",
    Reason.UNREACHABLE: UNREACHABLE_FIX,
    Reason.MODEL_GONE: "if Kie has renamed the model, install a version that knows the new name",
    Reason.SERVER_ERROR: _UNCERTAIN_COST_FIX,
    Reason.REPLY_LOST: _UNCERTAIN_COST_FIX,
    Reason.PROVIDER_FAILED: _UNCERTAIN_COST_FIX,
    Reason.DEADLINE_EXCEEDED: _UNCERTAIN_COST_FIX,
}


def find_pause_alerts(redis: RedisState, state: SystemState) -> Iterator[Alert]:
    """Yield an alert for each brake of a Kie account or of a family."""
    for account, pause in redis.pauses:
        fix = _PAUSE_FIXES.get(pause.reason, _NO_ACTION_FIX)
        yield _pause_alert(f"submits by the Kie account {account}", account, pause, fix, state)
    for account, family, pause in redis.family_pauses:
        whose = f"submits of {family} by the Kie account {account}"
        fix = _PAUSE_FIXES.get(pause.reason, _NO_ACTION_FIX)
        if pause.reason == Reason.WRONG_ENDPOINT:
            fix = _find_other_route(family, state, "has moved the endpoint", _WRONG_SETUP) or fix
        elif pause.reason == Reason.MODEL_GONE:
            leave = _leave_model(family)
            other = _find_other_route(family, state, "keeps it withdrawn", leave)
            fix = other or f"{fix}; else {leave}"
        yield _pause_alert(whose, f"{account} {family}", pause, fix, state)


_WRONG_SETUP = "compare KIE_BASE_URL, proxy and DNS with Kie's documentation"


def _leave_model(family: str) -> str:
    """Return the commands for a model that no family can send: wait for it, or give it up."""
    return (
        f"pause it until it is back: `darkroom queue pause --model {family}`; or cancel its jobs:"
        f" `darkroom jobs cancel --where model={family} --where state=queued`"
    )


def _find_other_route(family: str, state: SystemState, why: str, instead: str) -> str | None:
    """Return the command that sends the jobs of this family by another one.

    `why` is what Kie has done if this is right, and `instead` is what else to do.
    """
    for route in state.routes:
        if route.via == family:
            return f"take the route back: `darkroom models route {route.model} --direct`"
    others = state.other_routes.get(family)
    if not others:
        return None
    return (
        f"if Kie {why}, move the jobs: `darkroom models route {family} --via {others[0]}`;"
        f" else {instead}"
    )


def open_family_pauses(
    redis: RedisState, state: SystemState
) -> tuple[tuple[str, str, SubmitPause], ...]:
    """Return the pauses of families by which jobs are sent. A model whose jobs go by another
    family waits for no pause of its own.
    """
    left = {one.model for one in state.routes} - {one.via for one in state.routes}
    return tuple(pause for pause in redis.family_pauses if pause[1] not in left)


def find_route_alerts(state: SystemState) -> Iterator[Alert]:
    """Yield an alert for each route that cannot carry jobs of its model."""
    for route in state.routes:
        model = route.model
        if route.unfit:
            yield Alert(
                "route_unfit",
                f"{count_jobs(route.unfit, f'of {model} waits', f'of {model} wait')}: the model is"
                f" sent by {route.via}, which cannot carry them; they hold"
                f" {route.unfit_credits.normalize():f} credits",
                f"cancel them: `darkroom jobs cancel --where model={model} --where"
                " reason=route_unfit`; or take the route back:"
                f" `darkroom models route {model} --direct`",
                since=route.unfit_since,
                subject=model,
            )


def _pause_alert(
    whose: str, subject: str, pause: SubmitPause, fix: str, state: SystemState
) -> Alert:
    if pause.is_on(state.at):
        how = f"paused for {ceil((pause.until - state.at).total_seconds())} s more"
    else:
        how = "sent one at a time until one goes well"
    return Alert(
        "submits_paused",
        f"{whose} are {how} ({pause.reason}: {pause.message});"
        f" {count_jobs(state.queued, 'waits', 'wait')}",
        fix,
        since=pause.since,
        subject=subject,
    )


def find_operator_pause_alerts(state: SystemState) -> Iterator[Alert]:
    """Yield an alert for each pause by a person."""
    for pause in state.pauses:
        end = "" if pause.until is None else f", until {pause.until:%Y-%m-%d %H:%M:%S}Z"
        if pause.scope == "kie_account":
            effect = "other Kie accounts take its share"
        else:
            effect = f"{count_jobs(state.paused, 'waits', 'wait')}, by all pauses together"
        yield Alert(
            "paused_by_operator",
            f"submits of {pause.subject} are paused by {pause.paused_by}{end}: {pause.reason};"
            f" {effect}",
            f"`darkroom queue resume {pause.id}` once the reason is gone",
            since=pause.paused_at,
            subject=str(pause.id),
        )
