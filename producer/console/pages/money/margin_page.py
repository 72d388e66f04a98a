"""The margin by day, model, variant or account, with a plot of its days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from producer.console.page import PageCall, PageView
from producer.money.margins import MarginGroup
from shared.errors import Fault, InvalidRequest

PERIODS = (7, 30, 90)
"""In days."""
_ROWS = 200


async def show_margin(call: PageCall) -> PageView:
    """Show the margin of the last days."""
    group, days = _read_query(call)
    until = call.now
    since = (until - timedelta(days=days - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    by_day = await call.billing.margin(MarginGroup.DAY, since, until, days + 1)
    rows = (
        by_day
        if group is MarginGroup.DAY
        else await call.billing.margin(group, since, until, _ROWS)
    )
    names = ("jobs", "charged", "refunded", "provider_credits", "uncharged_jobs", "margin")
    values = {
        "group": group.value,
        "groups": [one.value for one in MarginGroup],
        "days": days,
        "periods": PERIODS,
        "rows": rows,
        "totals": {name: sum(row[name] for row in by_day) for name in names},
        "plot": plot_of_days(by_day),
    }
    return PageView("money/margin.html", values)


def plot_of_days(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the plot of the days. `rows` are newest first; days without a job are missing."""
    oldest_first = list(reversed(rows))
    return {
        "times": [
            datetime.fromisoformat(row["name"]).replace(tzinfo=UTC).timestamp()
            for row in oldest_first
        ],
        "series": [
            {"label": "Charged", "values": _floats(oldest_first, "charged"), "tone": "1"},
            {
                "label": "Kie's charge",
                "values": _floats(oldest_first, "provider_credits"),
                "tone": "2",
            },
            {"label": "Margin", "values": _floats(oldest_first, "margin"), "tone": "3"},
        ],
        "unit": "credits",
    }


def _floats(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def _read_query(call: PageCall) -> tuple[MarginGroup, int]:
    by, text = call.query("by") or MarginGroup.DAY.value, call.query("days") or "30"
    faults = []
    if by not in set(MarginGroup):
        faults.append(Fault("by", f"{by[:40]!r} must be one of {', '.join(MarginGroup)}"))
    if text not in {str(days) for days in PERIODS}:
        faults.append(Fault("days", f"{text[:40]!r} must be one of {', '.join(map(str, PERIODS))}"))
    if faults:
        raise InvalidRequest(faults)
    return MarginGroup(by), int(text)
