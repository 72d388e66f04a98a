"""One job: its life, images, request, attempts, answers, credits, webhooks and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from producer.console.job_as_curl import job_as_curl
from producer.console.job_life import HEIGHT, NODE_HEIGHT, NODE_WIDTH, WIDTH, read_life
from producer.console.job_situation import describe_situations
from producer.console.page import ADMINS, PageCall, PageView
from producer.console.pages.job_images import list_images
from producer.console.pages.money.accounts_page import account_path
from producer.console.pages.money.prices_page import price_path
from producer.console.text_filters import format_credits
from producer.jobs.job_mask import mask_details, mask_job
from producer.money.price_key import PriceKey
from shared.domain.job import Job
from shared.domain.lifecycle import JobState, Reason
from shared.stored_json import read_stored_object

_SHOWN_APART = frozenset({"prompt"})


async def show_job(call: PageCall) -> PageView:
    """Show everything that is stored about a job, as far as the visitor may see it."""
    job = await call.producer.get(call.part("id"))
    details = await call.producer.job_details(job.id)
    shown = job if call.sees_prompts else mask_job(job)
    values = {
        "job": shown,
        "details": details if call.sees_prompts else mask_details(details),
        "events": [
            {**row, "detail": _pairs_of(read_stored_object(row["detail"]))}
            for row in details["events"]
        ],
        "life": read_life(job, details["events"]),
        "drawing": {"width": WIDTH, "height": HEIGHT, "w": NODE_WIDTH, "h": NODE_HEIGHT},
        "request": _request_pairs(shown),
        "images": list_images(shown, has_store=call.shows_copies, now=call.now),
        "situations": describe_situations(
            shown, call.now, await _turn_text(call, job) if job.state is JobState.QUEUED else None
        ),
        "doubt": find_doubt(job, details["late_tasks"]),
        "account_url": account_path(job.account_id),
        "price_url": price_path(PriceKey(job.model, job.task, job.quantity, job.variant)),
        "curl": job_as_curl(shown) if call.sees_prompts else None,
        "shows_audit": call.visitor.caller.role in ADMINS,
    }
    return PageView("job.html", values, title=f"Job {job.id}")


async def _turn_text(call: PageCall, job: Job) -> str:
    """Return what decides the place of a queued job."""
    account = await call.billing.account(job.account_id)
    most = account.max_open_jobs
    limit = "no limit of open jobs" if most is None else f"at most {most:,} open at once"
    weight = format_credits(account.weight)
    return f"Its priority is {job.priority}. Its account has the weight {weight} and {limit}."


def find_doubt(job: Job, late_tasks: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what an operator has to resolve: `unknown`, `held` or `late`. None: nothing."""
    if job.state is JobState.UNKNOWN:
        return "unknown"
    if job.state is JobState.GENERATING and job.reason == Reason.RESULT_UNREADABLE:
        return "held"
    return "late" if job.is_terminal and any(map(is_in_doubt, late_tasks)) else None


def is_in_doubt(late_task: Mapping[str, Any]) -> bool:
    """Return whether an operator has to resolve this late task."""
    return late_task["in_doubt_since"] is not None and late_task["ended_at"] is None


def _request_pairs(job: Job) -> list[tuple[str, str]]:
    """Return the fields of the request that were given, as texts."""
    return _pairs_of(
        {
            name: value
            for name, value in job.request.items()
            if name not in _SHOWN_APART and value not in (None, "", []) and value is not False
        }
    )


def _pairs_of(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name.replace("_", " "), _text_of(value))
        for name, value in values.items()
        if value is not None
    ]


def _text_of(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
