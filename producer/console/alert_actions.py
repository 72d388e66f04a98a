"""What an operator does next about each alert: a page of the console, or a command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from string import digits
from urllib.parse import quote, urlencode

from producer.console.page import CONSOLE
from shared.domain.alerts.alert import Alert
from shared.domain.lifecycle import Reason


@dataclass(frozen=True, slots=True)
class AlertAction:
    """The button of an alert, or the command that it shows for copying."""

    label: str = ""
    href: str = ""
    """Begins with `/console`. Empty if nothing in the console helps."""
    command: str = ""
    needs: str | None = None
    """The name of the action of the console that the page performs, if it performs one."""
    posts: bool = False
    """Whether the button performs the action at once, without a page that asks."""


@dataclass(frozen=True, slots=True)
class ShownAlert:
    """An alert as the overview shows it."""

    title: str
    fix: tuple[str, ...]
    """What an operator can do. Every second part is a command."""
    alert: Alert
    tone: str
    action: AlertAction


def _page(label: str, path: str) -> Callable[[Alert], AlertAction]:
    return lambda _: AlertAction(label, f"{CONSOLE}{path}")


def _command(command: str) -> Callable[[Alert], AlertAction]:
    return lambda _: AlertAction(command=command)


def _end_session(alert: Alert) -> AlertAction:
    # The subject is the number of a session of Postgres.
    pid = "".join(one for one in alert.subject if one in digits)
    return AlertAction(command=f"SELECT pg_terminate_backend({pid});")


def _end_brake(alert: Alert) -> AlertAction:
    # The subject is the Kie account, and the model if only its submits are paused.
    account = alert.subject.partition(" ")[0]
    path = f"{CONSOLE}/brakes/{quote(account, safe='')}/end"
    return AlertAction("Let submits go on", path, needs="end_brake")


def _insert_price(alert: Alert) -> AlertAction:
    # The subject is the model, the task, the quantity and, of some, the variant.
    parts = (*alert.subject.replace("'", "''").split(" "), "", "", "")[:4]
    return AlertAction(
        command=_INSERT_PRICE.replace("KIND", ", ".join(f"'{one}'" for one in parts))
    )


def _see_unfit_jobs(alert: Alert) -> AlertAction:
    # The subject is the model.
    query = urlencode({"model": alert.subject, "reason": Reason.ROUTE_UNFIT})
    return AlertAction("See these jobs", f"{CONSOLE}/jobs?{query}")


def _resolve_late_task(alert: Alert) -> AlertAction:
    path = f"{CONSOLE}/jobs/{alert.job_id}" if alert.job_id else f"{CONSOLE}/jobs?state=failed"
    return AlertAction("Resolve the oldest", path)


_INSERT_PRICE = (
    "INSERT INTO pricing (model, task, quantity, variant, credits, provider_credits)"
    " VALUES (KIND, CREDITS, WHAT_KIE_CHARGES);"
)
"""What an operator copies, and completes with both amounts."""
_ACKNOWLEDGE_WIPE = AlertAction(
    "Acknowledge",
    f"{CONSOLE}/alerts/redis_was_wiped/acknowledge",
    needs="acknowledge_wipe",
    posts=True,
)
_START_WORKER = _command("darkroom worker")
_EXAMINE = _command("darkroom doctor")
_SEE_MODELS = _page("See what Kie says", "/models#at-kie")
_WAITING = _page("See waiting jobs", "/jobs?state=queued&scheduled=false")
_FAILED = _page("See failed jobs", "/jobs?state=failed")
_RUNNING = _page("See running jobs", "/jobs?state=generating")

ACTION_BY_ALERT: Mapping[str, Callable[[Alert], AlertAction]] = {
    "clock_skew": _EXAMINE,
    "connections_nearly_used_up": _EXAMINE,
    "images_come_late": _FAILED,
    "images_not_stored": _EXAMINE,
    "jobs_fail": _FAILED,
    "jobs_wait": _WAITING,
    "keys_differ": _EXAMINE,
    "kie_balance_drifts": _EXAMINE,
    "kie_model_changed": _SEE_MODELS,
    "kie_model_unreliable": _SEE_MODELS,
    "kie_price_moved": _page("Compare prices", "/prices"),
    "late_tasks_in_doubt": _resolve_late_task,
    "nothing_is_submitted": _WAITING,
    "no_worker": _START_WORKER,
    "paused_by_operator": _page("See the pauses", "/pauses"),
    "postgres_is_read_only": _EXAMINE,
    "price_missing": _insert_price,
    "process_without_redis": _EXAMINE,
    "redis_cannot_save": _EXAMINE,
    "redis_evicts": _EXAMINE,
    "redis_is_full": _EXAMINE,
    "redis_is_replica": _EXAMINE,
    "redis_of_another_database": _EXAMINE,
    "redis_was_wiped": lambda _: _ACKNOWLEDGE_WIPE,
    "results_unreadable": _page("Resolve these jobs", "/jobs?reason=result_unreadable"),
    "route_unfit": _see_unfit_jobs,
    "rows_locked": _end_session,
    "submits_paused": _end_brake,
    "submits_slowed": _WAITING,
    "tasks_run_long": _RUNNING,
    "unknown_submissions": _page("Resolve these jobs", "/jobs?state=unknown"),
    "webhooks_dead": _command("darkroom webhooks list --state dead"),
    "webhooks_fail": _command("darkroom webhooks list --state pending"),
    "worker_lost": _START_WORKER,
    "writes_lost": _command("darkroom queue lost-writes"),
}
"""The action of every alert, by its name."""
_SEVERE = frozenset(
    {
        *("jobs_fail", "no_worker", "nothing_is_submitted", "postgres_is_read_only"),
        *("redis_cannot_save", "redis_is_full", "redis_is_replica", "submits_paused"),
        *("redis_of_another_database", "writes_lost"),
    }
)
"""Alerts of which jobs stand still, fail or are lost."""


def show_alert(alert: Alert) -> ShownAlert:
    """Return the alert with its action. Its sentences begin with a capital letter."""
    return ShownAlert(
        title=_as_sentence(alert.detail),
        fix=tuple(_as_sentence(alert.fix).split("`")),
        alert=alert,
        tone="bad" if alert.name in _SEVERE else "warn",
        action=ACTION_BY_ALERT[alert.name](alert),
    )


def show_alerts(alerts: Iterable[Alert]) -> list[ShownAlert]:
    """Return the alerts, those of which jobs stand still or fail first."""
    return sorted(map(show_alert, alerts), key=lambda one: one.tone != "bad")


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
