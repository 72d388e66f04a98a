"""What people did through any interface: who, from where, before and after."""

from __future__ import annotations

from typing import Any

from producer.audit_entries import Act
from producer.console.page import CONSOLE, PageCall, PageView
from producer.job_ids import read_uuid
from producer.list_pages import MAX_ROW_ID
from shared.errors import Fault

PATH = f"{CONSOLE}/audit"
PAGE_ROWS = 50
_FILTERS = ("act", "actor", "account_id", "job_id")


async def show_audit(call: PageCall) -> PageView:
    """Show a page of entries, newest first. Errors of filters are shown next to their fields."""
    texts = {name: value for name in _FILTERS if (value := call.query(name)) is not None}
    faults = _find_faults(texts)
    below = call.query("cursor")
    entries: list[dict[str, Any]] = []
    next_below = None
    if not faults:
        page = await call.billing.audit_page(
            below=_read_cursor(below),
            limit=PAGE_ROWS,
            act=texts.get("act"),
            actor=texts.get("actor"),
            account_id=texts.get("account_id"),
            job_id=read_uuid(texts["job_id"]) if "job_id" in texts else None,
        )
        entries, next_below = page.entries, page.next_below
    values = {
        "entries": [{**entry, "changes": list_changes(entry)} for entry in entries],
        "acts": [(act.value, act.value.replace("_", " ")) for act in Act],
        "texts": texts,
        "faults": faults,
        "next_below": next_below,
        "is_first": below is None,
    }
    return PageView("money/audit.html", values, status=422 if faults else 200)


def list_changes(entry: dict[str, Any]) -> list[tuple[str, object, object]]:
    """Return what the act changed: the name, the value before, and the value since.

    An act that writes some fields stores those alone, and a reason has its own column.
    """
    before, after = entry["before"] or {}, entry["after"] or {}
    return [
        (name, before.get(name), after.get(name))
        for name in after or before
        if before.get(name) != after.get(name)
        and (name != "reason" or after.get(name) != entry["reason"])
    ]


def _find_faults(texts: dict[str, str]) -> dict[str, str]:
    faults = []
    if "act" in texts and texts["act"] not in set(Act):
        faults.append(Fault("act", f"{texts['act'][:40]!r} is no act"))
    if "job_id" in texts and read_uuid(texts["job_id"]) is None:
        faults.append(Fault("job_id", f"{texts['job_id'][:40]!r} is not the id of a job"))
    return {fault.field: fault.message for fault in faults}


def _read_cursor(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 19:
        return None
    return min(int(text), MAX_ROW_ID)
