"""The overview: what needs attention, the figures of the queue, and their history as plots."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from producer.api.responses.json_response import json_response
from producer.console.alert_actions import show_alerts
from producer.console.history_plots import QUEUE_PLOTS, account_plots, plots_to_json
from producer.console.page import CONSOLE, PageCall, PageView, Redirect
from producer.monitoring.overview import Overview
from producer.waiting.wait_texts import WAIT_REASONS
from producer.waiting.waiting_table import waiting_table
from shared.domain.alerts.alert import AcknowledgedAlert

RANGES = {"hour": 1, "day": 24}
"""The hours of each range of the plots, by the value of `range` in the URL."""
_RANGE_DEFAULT = "hour"
_WAITING_ROWS = 10
"""Of how many accounts and priorities the overview says how many jobs wait."""


async def show_overview(call: PageCall) -> PageView | web.StreamResponse:
    """Show the overview. For `Accept: application/json`, return the values of its plots alone."""
    overview = await call.producer.overview()
    wanted = call.query("range")
    range_name = wanted if wanted in RANGES else _RANGE_DEFAULT
    # A live update replaces everything but the plots, which read their own values.
    is_update = call.request.headers.get("HX-Request") == "true"
    plots = {} if is_update else await _read_plots(call, overview, RANGES[range_name])
    if call.request.headers.get("Accept") == "application/json":
        return json_response(plots, headers={"Cache-Control": "no-store", "Vary": "Accept"})
    values: dict[str, Any] = {
        "overview": overview,
        "queue": overview.snapshot,
        "alerts": show_alerts(overview.alerts),
        "plots": plots,
        "queue_plots": QUEUE_PLOTS,
        "accounts": [(one, account_plots(one.name)) for one in overview.accounts],
        "range_name": range_name,
        "ranges": RANGES,
        "has_jobs": _has_jobs(overview),
        "who_waits": waiting_table(await call.producer.waiting.snapshot(), _WAITING_ROWS),
        "wait_reasons": WAIT_REASONS,
    }
    return PageView("overview.html", values)


async def acknowledge_wipe(call: PageCall) -> Redirect:
    """End the alert that Redis was wiped."""
    done = await call.producer.alert_evidence.acknowledge(
        AcknowledgedAlert.REDIS_WAS_WIPED, actor=call.actor
    )
    if done.left:
        return Redirect(CONSOLE, "Redis was wiped once more meanwhile, and the alert stays.")
    if not done.acknowledged:
        return Redirect(CONSOLE, "There was nothing to acknowledge.")
    return Redirect(CONSOLE, "Acknowledged: Redis was wiped. The alert ends within seconds.")


async def _read_plots(call: PageCall, overview: Overview, hours: int) -> dict[str, Any]:
    history = await call.producer.history(hours)
    accounts = [account.name for account in overview.accounts]
    return plots_to_json(history, overview.at, hours, accounts)


def _has_jobs(overview: Overview) -> bool:
    """Return whether there is any sign of a job: one that is open, ended today, or failed ever."""
    queue, today = overview.snapshot, overview.today
    known = (queue.queued, queue.in_flight, today.succeeded, today.failed, today.cancelled)
    return any(known) or bool(overview.failures)
