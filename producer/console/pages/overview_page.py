"""The overview: what needs attention, and how many jobs are where."""

from __future__ import annotations

from producer.console.page import PageCall, PageView
from shared.adapters.monitoring.queue_snapshot import read_snapshot


async def show_overview(call: PageCall) -> PageView:
    """Show the alerts and the queue."""
    report = await call.context.alerts.read()
    queue = await read_snapshot(call.context.queries)
    return PageView("overview.html", {"alerts": report.alerts, "queue": queue})
