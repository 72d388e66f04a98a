"""What operators do with one job: cancel, retry, resolve, and replay its webhooks."""

from __future__ import annotations

from producer.actor import MAX_REASON_LENGTH
from producer.console.page import CONSOLE, PageCall, PageView, Redirect
from producer.console.pages.job_page import find_doubt, is_in_doubt
from producer.console.text_filters import count_credits
from producer.jobs.job_mask import mask_job
from shared.catalog import get_family
from shared.domain.job import Job
from shared.errors import Fault, InvalidRequest, PriceMissing

_VERDICTS = {
    "unknown": (
        ("submitted", "Kie made a task: poll it"),
        ("lost", "Kie made no task: fail the job and release its credits"),
    ),
    "held": (
        ("delivered", "Kie made these images: charge the job"),
        ("undelivered", "Kie made no images: fail the job and release its credits"),
    ),
    "late": (
        ("delivered", "Kie made these images: keep them on the job, free of charge"),
        ("undelivered", "Kie made no images of this job"),
    ),
}
"""The verdicts on each kind of doubt."""
URL_LENGTH = 2_000


async def confirm_cancel(call: PageCall) -> PageView:
    """Ask whether to cancel the job."""
    return PageView("job_cancel.html", {"job": await _job_of(call)})


async def cancel_job(call: PageCall) -> Redirect:
    """Cancel a queued job and release its credits, or request the cancel of a job at Kie."""
    job = await call.producer.cancel(call.part("id"), actor=call.actor)
    if not job.is_terminal:
        notice = "The cancel was requested. Nobody waits for the job, and it ends by Kie's outcome."
        return Redirect(_path_of(job), notice)
    held = count_credits(job.credits_quoted, "credit was", "credits were")
    return Redirect(_path_of(job), f"The job was cancelled. {held} released.")


async def confirm_retry(call: PageCall) -> PageView:
    """Show what a retry holds, and ask."""
    job = await call.producer.get(call.part("id"))
    account = await call.billing.account(job.account_id)
    request = get_family(job.model).validate(job.task, job.request)
    try:
        price = (await call.billing.quote(request)).credits
    except PriceMissing:
        price = None
    details = await call.producer.job_details(job.id)
    values = {
        "job": job if call.sees_prompts else mask_job(job),
        "account": account,
        "price": price,
        "retries": details["retries"],
    }
    return PageView("job_retry.html", values)


async def retry_job(call: PageCall) -> Redirect:
    """Enqueue the request of an ended job again, once."""
    again = call.form.get("again") == "yes"
    retried = await call.producer.retry_once(call.part("id"), again=again, actor=call.actor)
    held = count_credits(retried.job.credits_quoted, "credit is", "credits are")
    notice = (
        f"Retried as this job. {held} held."
        if retried.is_new
        else "The job had been retried already, as this job. Nothing was changed."
    )
    return Redirect(_path_of(retried.job), notice)


async def ask_verdict(call: PageCall) -> PageView:
    """Show the form for a verdict on a job in doubt."""
    job = await call.producer.get(call.part("id"))
    details = await call.producer.job_details(job.id)
    doubt = find_doubt(job, details["late_tasks"])
    tasks = [row["provider_task_id"] for row in details["late_tasks"] if is_in_doubt(row)]
    values = {
        "job": job if call.sees_prompts else mask_job(job),
        "doubt": doubt,
        "verdicts": _VERDICTS.get(doubt or "", ()),
        "attempts": details["attempts"],
        "late_tasks": tasks,
    }
    return PageView("job_resolve.html", values)


async def resolve_job(call: PageCall) -> Redirect:
    """Resolve the doubt by the verdict of the form."""
    verdict, reason, task_id, urls = _read_verdict(call)
    producer, job_id, actor = call.producer, call.part("id"), call.actor
    match verdict:
        case "submitted":
            job = await producer.resolve_submitted(job_id, task_id, reason or None, actor=actor)
        case "lost":
            job = await producer.resolve_lost(job_id, reason, actor=actor)
        case "delivered":
            job = await producer.resolve_delivered(
                job_id, urls, reason, actor=actor, task_id=task_id or None
            )
        case _:
            job = await producer.resolve_undelivered(
                job_id, reason, actor=actor, task_id=task_id or None
            )
    return Redirect(_path_of(job), f"The doubt was resolved. The job is {job.state}.")


def _read_verdict(call: PageCall) -> tuple[str, str, str, tuple[str, ...]]:
    form = call.form
    verdict, reason, task_id = (form.get(name, "") for name in ("verdict", "reason", "task_id"))
    urls = tuple(line for line in form.get("result_urls", "").split("\n") if line.strip())
    faults = []
    if verdict not in {one for pairs in _VERDICTS.values() for one, _ in pairs}:
        faults.append(Fault("verdict", "choose one"))
    if verdict == "submitted" and not task_id:
        faults.append(Fault("task_id", "name the task that Kie made"))
    if verdict not in {"submitted", ""} and not reason:
        faults.append(Fault("reason", "say why: it is recorded with the change"))
    if len(reason) > MAX_REASON_LENGTH:
        faults.append(Fault("reason", f"has {len(reason)} characters; at most {MAX_REASON_LENGTH}"))
    if verdict == "delivered" and not urls:
        faults.append(Fault("result_urls", "name each image, one on a line"))
    if faults:
        raise InvalidRequest(faults)
    return verdict, reason, task_id, urls


async def replay_webhook(call: PageCall) -> Redirect:
    """Send a webhook message of the job again."""
    job = await call.producer.get(call.part("id"))
    details = await call.producer.job_details(job.id)
    message_id = call.part("message")
    if message_id not in {row["id"] for row in details["webhooks"]}:
        raise InvalidRequest([Fault("message", "is none of this job")])
    await call.producer.webhooks.replay(message_id, actor=call.actor)
    return Redirect(f"{_path_of(job)}#webhooks", "The webhook message is sent again.")


async def _job_of(call: PageCall) -> Job:
    job = await call.producer.get(call.part("id"))
    return job if call.sees_prompts else mask_job(job)


def _path_of(job: Job) -> str:
    return f"{CONSOLE}/jobs/{job.id}"
