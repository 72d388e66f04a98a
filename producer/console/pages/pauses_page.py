"""The pauses of submits: which are active and which were, their start and their end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast, get_args

from producer.actor import MAX_REASON_LENGTH
from producer.console.page import CONSOLE, PageCall, PageView, Redirect
from producer.jobs.job_filter import JobFilter
from producer.list_pages import MAX_ROW_ID
from producer.pauses import Pause, PauseScope
from shared.domain.alerts.system_state import describe_pause
from shared.errors import Fault, InvalidRequest, NotFound

PAGE_LENGTH = 50
_PATH = f"{CONSOLE}/pauses"
ENDS = (
    ("", "when it is resumed"),
    ("900", "in 15 minutes"),
    ("3600", "in an hour"),
    ("14400", "in 4 hours"),
    ("86400", "in a day"),
)
"""The ends that the form offers: seconds from now, and words."""
_SCOPES = {
    "everything": "everything",
    "account": "an account",
    "model": "a model",
    "kie_account": "a Kie account",
}


async def show_pauses(call: PageCall) -> PageView:
    """Show the active pauses, and a page of those that have ended."""
    below = call.query("below") or ""
    is_id = below.isascii() and below.isdigit() and len(below) < len(str(MAX_ROW_ID))
    ended, next_below = await call.producer.pauses.page(
        below=int(below) if is_id else None, limit=PAGE_LENGTH, is_active=False
    )
    values = {
        "active": await call.producer.pauses.active(),
        "ended": ended,
        "older": f"{_PATH}?below={next_below}" if next_below is not None else None,
        "newest": _PATH if below else None,
    }
    return PageView("pauses.html", values)


async def ask_pause(call: PageCall) -> PageView:
    """Show the form. The query may name scope and value."""
    known = await _known_values(call)
    given = {name: call.query(name) or "" for name in ("scope", "value")}
    values = {
        "given": {**given, **call.form},
        "scopes": list(_SCOPES.items()),
        "ends": ENDS,
        "names": sorted({*known["model"], *known["kie_account"]}),
    }
    return PageView("pause_start.html", values)


async def start_pause(call: PageCall) -> PageView | Redirect:
    """Show what a pause stops, and start it once that is confirmed."""
    scope, value, for_seconds, until = await _read_form(call)
    reason = call.form.get("reason", "")
    if call.form.get("confirmed") != "yes":
        values = {
            "subject": describe_pause(scope, value),
            "scope": scope,
            "queued": await _count_queued(call, scope, value),
            "fields": {name: text for name, text in call.form.items() if name != "form_token"},
            "reason": reason,
            "end": f"at {until:%Y-%m-%d %H:%M} UTC" if until else dict(ENDS)[for_seconds],
        }
        return PageView("pause_confirm.html", values, title="Pause submits?")
    pause = await call.producer.pauses.pause(
        *(scope, value),
        reason=reason,
        until=until,
        for_seconds=float(for_seconds) if for_seconds else None,
        actor=call.actor,
    )
    return Redirect(_PATH, f"Submits of {pause.subject} are paused: {pause.reason}")


async def resume_pause(call: PageCall) -> Redirect:
    """End a pause."""
    text = call.part("id")
    if not (text.isascii() and text.isdigit() and len(text) < len(str(MAX_ROW_ID))):
        raise NotFound(f"no pause has the id {text[:40]!r}")
    pause = await call.producer.pauses.resume(int(text), actor=call.actor)
    left = len(await call.producer.pauses.active())
    others = f" {left} other {'pause is' if left == 1 else 'pauses are'} active." if left else ""
    return Redirect(_PATH, f"{_sentence(pause)}{others}")


def _sentence(pause: Pause) -> str:
    if pause.resumed_at is None:
        return f"The pause of {pause.subject} had ended automatically. Nothing was changed."
    return f"The pause of {pause.subject} has ended."


async def _read_form(call: PageCall) -> tuple[PauseScope, str | None, str, datetime | None]:
    """Return scope, value, seconds and end of the form. Raises every fault at once."""
    form = call.form
    scope, value, reason = form.get("scope", ""), form.get("value") or None, form.get("reason", "")
    faults = await _find_value_faults(call, scope, value)
    if not 1 <= len(reason) <= MAX_REASON_LENGTH:
        faults.append(Fault("reason", f"say why, in 1 to {MAX_REASON_LENGTH} characters"))
    seconds, until = form.get("ends", ""), None
    if seconds not in dict(ENDS):
        faults.append(Fault("ends", "choose one"))
    if form.get("until"):
        try:
            until = datetime.fromisoformat(form["until"]).replace(tzinfo=UTC)
        except ValueError:
            faults.append(Fault("until", "write a time in UTC, such as 2030-01-31 18:00"))
        if until is not None and until <= call.now:
            faults.append(Fault("until", f"has passed: it is {call.now:%Y-%m-%d %H:%M} UTC now"))
        if seconds:
            faults.append(Fault("until", "choose one end: a time, or from now"))
    if faults:
        raise InvalidRequest(faults)
    if scope == "account":
        await call.billing.account(value or "")
    return cast("PauseScope", scope), value, seconds, until


async def _find_value_faults(call: PageCall, scope: str, value: str | None) -> list[Fault]:
    if scope not in get_args(PauseScope):
        return [Fault("scope", "choose one")]
    if scope == "everything":
        needless = value is not None
        return [Fault("value", "leave it empty: everything has no name")] if needless else []
    if value is None:
        return [Fault("value", f"name {_SCOPES[scope]}")]
    if scope == "account":
        return []
    names = (await _known_values(call))[scope]
    return [] if value in names else [Fault("value", f"is none of these: {', '.join(names)}")]


async def _known_values(call: PageCall) -> Mapping[str, list[str]]:
    """Return the names of models and of Kie accounts."""
    prices = await call.billing.prices()
    overview = await call.producer.overview()
    return {
        "model": sorted({row["model"] for row in prices}),
        "kie_account": [account.name for account in overview.accounts],
    }


async def _count_queued(call: PageCall, scope: PauseScope, value: str | None) -> int | None:
    """Return how many queued jobs the pause stops, or None for a Kie account."""
    if scope == "kie_account":
        return None
    named: dict[str, Any] = {"model": {"model": value}, "account": {"account_id": value}}
    where = JobFilter(state=("queued",), **named.get(scope, {}))
    return sum(one.jobs for one in await call.producer.count(where))
