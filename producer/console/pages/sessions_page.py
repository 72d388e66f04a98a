"""The sessions of the console: who is logged in from where, and their end."""

from __future__ import annotations

from producer.console.page import ADMINS, CONSOLE, PageCall, PageView, Redirect
from producer.job_ids import read_uuid
from shared.errors import NotFound


async def show_sessions(call: PageCall) -> PageView:
    """Show the sessions that hold: of all keys for an admin, else of the visitor's own key."""
    with_ended = call.query("ended") == "yes"
    sessions = await call.context.sessions.list(_own_key(call), with_ended=with_ended)
    keys = await call.context.api.keys.list() if call.visitor.caller.role in ADMINS else None
    values = {"sessions": sessions, "with_ended": with_ended, "keys": keys}
    return PageView("sessions.html", values)


async def end_session(call: PageCall) -> Redirect:
    """End a session. Admins end every session, others those of their own key."""
    session_id = read_uuid(call.part("id"))
    if session_id is None:
        raise NotFound(f"{call.part('id')[:40]!r} is not the id of a session")
    await call.context.sessions.end(session_id, actor=call.actor, key_prefix=_own_key(call))
    return Redirect(f"{CONSOLE}/sessions", "The session was ended.")


def _own_key(call: PageCall) -> str | None:
    caller = call.visitor.caller
    return None if caller.role in ADMINS else caller.key_prefix
