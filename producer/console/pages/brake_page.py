"""The end of what workers paused by themselves for a Kie account."""

from __future__ import annotations

from producer.console.page import CONSOLE, PageCall, PageView, Redirect
from shared.errors import NotFound


async def confirm_brake_end(call: PageCall) -> PageView:
    """Show why submits of the Kie account are paused, and ask what was repaired."""
    overview = await call.producer.overview()
    name = call.part("account")
    known = [account for account in overview.accounts if account.name == name]
    if not known:
        raise NotFound(f"no Kie account is named {name[:80]!r}")
    return PageView("brake_end.html", {"account": name, "pause": known[0].pause})


async def end_brakes(call: PageCall) -> Redirect:
    """End the brakes of the Kie account."""
    name = call.part("account")
    reason = call.form.get("reason", "")
    ended = await call.producer.brakes.end(name, reason=reason, actor=call.actor)
    if not ended:
        return Redirect(CONSOLE, f"No brake of {name} was on. Nothing was changed.")
    return Redirect(CONSOLE, f"Submits by {name} go on.")
