"""The overview as tables and as one line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from producer.cli.display.console import build_table
from producer.cli.display.text_format import (
    NO_VALUE,
    command_text,
    credits_text,
    duration_text,
    printable,
    shortened,
    time_text,
)

if TYPE_CHECKING:
    from producer.monitoring.latest_failures import LateDeliveries
    from producer.monitoring.overview import KieAccountOverview, Overview
    from shared.adapters.monitoring.queue_snapshot import QueueSnapshot
    from shared.domain.alerts.alert import Alert

_LATE_SECONDS = 60.0
_UNLIMITED = 10_000


def queue_overview_view(view: Overview, database_place: str) -> Group:
    """Return the overview as tables, below the place of the database."""
    place = Text(f"database: {printable(database_place)}", style="dim")
    parts: list[RenderableType] = [_headline(view), place, "", _figures(view)]
    for warning in _warnings(view):
        parts += ["", warning]
    if len(view.accounts) > 1 or any(one.slowed or one.pause for one in view.accounts):
        parts += ["", _accounts(view)]
    if view.failures:
        parts += ["", _failures(view)]
    return Group(*parts)


def queue_line(view: Overview) -> str:
    """Return the overview on one line, for logs."""
    queue = view.snapshot
    parts = [
        f"{view.at:%H:%M:%S}Z",
        f"waiting {queue.waiting}",
        *([f"scheduled {queue.scheduled}"] if queue.scheduled else []),
        f"oldest {duration_text(queue.oldest_waiting_seconds)}",
        f"in flight {queue.in_flight}",
        f"unknown {queue.unknown}",
        f"done {queue.succeeded} and failed {queue.failed} in 5 min",
        f"held {credits_text(queue.credits_held)}",
        *(warning.plain for warning in _warnings(view)),
    ]
    return ", ".join(parts)


def _headline(view: Overview) -> Text:
    queue = view.snapshot
    line = Text(f"Darkroom, {time_text(view.at)}: ", style="dim")
    later = f", {queue.scheduled:,} scheduled" if queue.scheduled else ""
    if queue.waiting == 0 and queue.in_flight == 0:
        return line.append("idle", style="not dim green").append(later)
    late = queue.oldest_waiting_seconds > _LATE_SECONDS
    line.append(
        f"{queue.waiting:,} waiting, {queue.in_flight:,} in flight{later}",
        style="not dim bold yellow" if late else "not dim bold",
    )
    return line


class _Figures:
    """Groups of names with figures: side by side, or one below another where that is too wide."""

    def __init__(self, groups: Sequence[Sequence[tuple[str, str | Text]]]) -> None:
        self._groups = groups

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the groups."""
        wide = self._grid(self._groups)
        unlimited = options.update(width=_UNLIMITED)
        is_wide = Measurement.get(console, unlimited, wide).maximum > options.max_width
        everything = [figure for group in self._groups for figure in group]
        yield self._grid([everything]) if is_wide else wide

    @staticmethod
    def _grid(groups: Sequence[Sequence[tuple[str, str | Text]]]) -> Table:
        grid = Table.grid(padding=(0, 2))
        for _ in groups:
            grid.add_column(style="dim")
            grid.add_column(justify="right")
        for row in zip(*groups, strict=True):
            grid.add_row(*(cell for pair in row for cell in pair))
        return grid


def _figures(view: Overview) -> _Figures:
    queue = view.snapshot
    oldest = duration_text(queue.oldest_waiting_seconds) if queue.waiting else NO_VALUE
    unknown = Text(str(queue.unknown), style="bold magenta" if queue.unknown else "")
    now: list[tuple[str, str | Text]] = [
        ("waiting", _waiting_text(queue)),
        ("oldest", oldest),
        ("submitting", str(queue.submitting)),
        ("generating", str(queue.generating)),
        ("unknown", unknown),
        ("workers", _workers_text(view)),
        ("credits held", credits_text(queue.credits_held)),
    ]
    lately: list[tuple[str, str | Text]] = [
        ("done in 5 min", str(queue.succeeded)),
        ("failed in 5 min", str(queue.failed)),
        ("cancelled in 5 min", str(queue.cancelled)),
        ("accepted per min", f"{view.accepted_per_minute:.1f}"),
        ("succeeded per min", f"{view.succeeded_per_minute:.1f}"),
        ("failed per min", f"{view.failed_per_minute:.1f}"),
        ("charged in 5 min", credits_text(queue.credits_charged)),
    ]
    durations: list[tuple[str, str | Text]] = [
        ("wait p50", duration_text(queue.wait_p50_seconds)),
        ("wait p95", duration_text(queue.wait_p95_seconds)),
        ("run p50", duration_text(queue.run_p50_seconds)),
        ("run p95", duration_text(queue.run_p95_seconds)),
        ("lag p50", duration_text(queue.lag_p50_seconds)),
        ("lag p95", duration_text(queue.lag_p95_seconds)),
        ("charged today", credits_text(view.today.credits_charged)),
    ]
    return _Figures([now, lately, durations])


def _waiting_text(queue: QueueSnapshot) -> str:
    return f"{queue.waiting}" + (f" ({queue.paused} paused)" if queue.paused else "")


def _workers_text(view: Overview) -> str:
    lost = len(view.workers_lost)
    return f"{view.workers_alive} alive" + (f", {lost} lost" if lost else "")


def _warnings(view: Overview) -> list[Text]:
    warnings: list[Text] = []
    if view.redis_error is not None:
        warnings.append(Text(printable(view.redis_error), style="bold red"))
    warnings += [Text(_alert_text(alert), style="bold yellow") for alert in view.alerts]
    if view.late.tasks:
        warnings.append(Text(_late_text(view.late), style="yellow"))
    has_alert = any(alert.name == "no_worker" for alert in view.alerts)
    if not view.has_worker and not has_alert:
        advice = f"no worker is running: start one with {command_text('worker')}"
        warnings.append(Text(advice, style="yellow"))
    return warnings


def _late_text(late: LateDeliveries) -> str:
    cost = credits_text(late.provider_credits)
    advice = command_text("jobs", "list", "--state", "failed")
    return f"{late.tasks} delivered late in 24 h, {cost} credits that no account pays: {advice}"


def _alert_text(alert: Alert) -> str:
    since = f", since {time_text(alert.since)}" if alert.since is not None else ""
    return f"{shortened(alert.detail, 300)}{since}: {printable(alert.fix)}"


def _accounts(view: Overview) -> Table:
    table = build_table(
        *("account", "credits left", "as of", "used in 10 s", "submits"),
        right=("credits left", "used in 10 s"),
        drop=("as of", "credits left"),
        title="Kie accounts",
    )
    paused = {one.value for one in view.operator_pauses if one.scope == "kie_account"}
    is_everything_paused = any(one.scope == "everything" for one in view.operator_pauses)
    for account in view.accounts:
        is_paused = is_everything_paused or account.name in paused
        age = account.balance_age_seconds
        table.add_row(
            account.name,
            NO_VALUE if account.balance is None else credits_text(account.balance),
            NO_VALUE if age is None else f"{duration_text(age)} ago",
            _budget_text(account),
            submits_text(account, view.at, is_paused=is_paused),
        )
    return table


def _budget_text(account: KieAccountOverview) -> str:
    """Return how many submits the current window has, and how many it may have."""
    used = NO_VALUE if account.budget_used is None else str(account.budget_used)
    return f"{used} of {account.budget}" if account.budget else used


def submits_text(account: KieAccountOverview, now: datetime, *, is_paused: bool) -> Text:
    """Return how a Kie account's submits go: freely, slowed down, one at a time, or not at all.

    One at a time goes on at the rate that is named, once Kie accepts a submit.
    """
    if is_paused:
        return Text("paused by an operator", style="bold yellow")
    pause, slowed = account.pause, account.slowed
    rate = "" if slowed is None else f"{slowed.in_force(now)} of {slowed.limit} per 10 s"
    if pause is not None:
        if rate == "" and account.budget:
            rate = f"{account.budget} per 10 s"
        text = "paused" if pause.is_on(now) else "one at a time"
        return Text(f"{text}, then {rate}" if rate else text, style="bold yellow")
    if slowed is not None:
        return Text(f"{rate}: {slowed.reason}", style="bold yellow")
    return Text("go on", style="green")


def _failures(view: Overview) -> Table:
    table = build_table(
        "job",
        "ago",
        "account",
        "reason",
        "message",
        right=("ago",),
        drop=("account", "message", "ago"),
        sentences=("message",),
        title="Last failures",
    )
    for failure in view.failures:
        table.add_row(
            str(failure.id),
            duration_text((view.at - failure.finished_at).total_seconds()),
            printable(failure.account_id),
            Text(failure.reason, style="red"),
            shortened(failure.message or NO_VALUE, 80),
        )
    return table
