"""Cancel and retry many jobs: what matches and at what cost, a typed number, and each outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from producer.bulk.bulk_result import BulkResult
from producer.bulk.job_selection import MAX_BULK_JOBS, BulkAction, JobSelection
from producer.console.page import PageCall, PageView
from producer.console.pages.jobs_page import PATH as JOBS
from producer.job_ids import read_uuid
from producer.jobs.filter_words import describe_jobs
from producer.jobs.job_counts import JobCount
from producer.jobs.job_filter import FILTER_RULES, JobFilter
from shared.domain.counted import counted
from shared.domain.lifecycle import JobState
from shared.errors import Fault, InvalidRequest, StateConflict

PATH = f"{JOBS}/many"
_LAST_ID = 2**128 - 1
_DEFAULT_STATES = {"retry": JobState.FAILED, "cancel": JobState.QUEUED}
_OTHERS = tuple(state for state in JobState if state is not JobState.SUCCEEDED)


async def show_counts(call: PageCall) -> PageView:
    """Show how many jobs match the filters of the URL, and lead to what can be done with them."""
    where = JobFilter.from_texts(_read_texts(call))
    # Most jobs have succeeded. Nothing here is for them, and to count a million takes 0.2 s.
    counted = where if where.state else replace(where, state=_OTHERS)
    counts = await call.producer.count(counted)
    acts = []
    for action in ("retry", "cancel"):
        offer = await _offer(call, action, where, counts)
        if offer is not None:
            acts.append(offer)
    values = {
        "subject": describe_jobs(where),
        "counts": counts,
        "counts_all": bool(where.state),
        "acts": acts,
        "list_url": _url(JOBS, where.to_texts().items()),
    }
    return PageView("many_jobs.html", values)


async def _offer(
    call: PageCall, action: BulkAction, where: JobFilter, counts: Sequence[JobCount]
) -> dict[str, str] | None:
    """Return the text and the address of the button for this action, if any job matches.

    `counts` are those of the filter.
    """
    if not where.to_texts():
        # Without filters, the state is named: a selection does not mean every job.
        where = replace(where, state=_DEFAULT_STATES[action])
    try:
        narrowed = JobSelection(where=where).narrow_filter(action)
    except StateConflict:
        return None
    if action == "retry":  # only jobs that were not retried
        counts = await call.producer.count(narrowed)
    count = sum(one.jobs for one in counts if one.state in narrowed.state)
    if not count:
        return None
    subject = describe_jobs(replace(narrowed, retried=None), count)
    return {
        "text": f"{action.capitalize()} {subject}",
        "url": _url(f"{PATH}/{action}", narrowed.to_texts().items()),
    }


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the URL or the form asks for."""

    selection: JobSelection
    fields: tuple[tuple[str, str], ...]
    """The fields of the form that ask for the same again."""
    subject: str
    """The jobs in words, without a number."""
    again: bool


async def ask_cancel(call: PageCall) -> PageView:
    """Show what a cancel of the selected jobs would release, and ask."""
    return await _ask(call, "cancel")


async def ask_retry(call: PageCall) -> PageView:
    """Show what a retry of the selected jobs would hold, and ask."""
    return await _ask(call, "retry")


async def cancel_jobs(call: PageCall) -> PageView:
    """Cancel the selected jobs, and show each outcome."""
    return await _act(call, "cancel")


async def retry_jobs(call: PageCall) -> PageView:
    """Retry the selected jobs, and show each outcome."""
    return await _act(call, "retry")


async def _ask(call: PageCall, action: BulkAction) -> PageView:
    asked = _read_asked(call)
    result = await _run(call, action, asked, dry_run=True)
    fields = list(asked.fields)
    if asked.selection.where is not None and asked.selection.below is None and result.newest_id:
        # Jobs that come after this page do not change what was confirmed.
        fields.append(("below", str(UUID(int=min(result.newest_id.int + 1, _LAST_ID)))))
    count = min(result.matched, MAX_BULK_JOBS)
    values = {
        "action": action,
        "result": result,
        "subject": asked.subject,
        "count": count,
        "fields": [*fields, ("shown", str(count))],
        "path": f"{PATH}/{action}",
        "back": _back(asked),
        "accounts": sorted(result.accounts, key=lambda one: (-one.lacking, -one.credits)),
    }
    title = f"{action.capitalize()} {count:,} {'job' if count == 1 else 'jobs'}?"
    return PageView("many_jobs_ask.html", values, title=title)


async def _act(call: PageCall, action: BulkAction) -> PageView:
    asked = _read_asked(call)
    shown = call.form.get("shown", "")
    is_number = shown.isascii() and shown.isdigit() and len(shown) <= len(str(MAX_BULK_JOBS))
    if not is_number or call.form.get("count", "").replace(",", "") != shown:
        raise InvalidRequest(
            [Fault("count", f"type {shown if is_number else 'the number'} to confirm")]
        )
    now = await _run(call, action, asked, dry_run=True)
    if min(now.matched, MAX_BULK_JOBS) > int(shown):
        matched = counted(now.matched, "job matches", "jobs match")
        sentence = f"{matched} by now, not {shown}: confirm the new number"
        raise InvalidRequest([Fault("count", sentence)])
    result = await _run(call, action, asked, dry_run=False)
    values = {
        "action": action,
        "result": result,
        "done": [one for one in result.done if one.is_new and not one.is_request],
        "requested": [one for one in result.done if one.is_request],
        "before": [one for one in result.done if not one.is_new],
        "back": _back(asked),
        "next_url": _next_url(action, asked, result),
    }
    return PageView("many_jobs_done.html", values, title=f"{action.capitalize()} of many jobs")


async def _run(call: PageCall, action: BulkAction, asked: _Asked, *, dry_run: bool) -> BulkResult:
    producer, actor = call.producer, call.actor
    if action == "cancel":
        return await producer.cancel_many(asked.selection, dry_run=dry_run, actor=actor)
    return await producer.retry_many(
        asked.selection, again=asked.again, dry_run=dry_run, actor=actor
    )


def _read_asked(call: PageCall) -> _Asked:
    """Return what the form asks for, or the URL if no form was sent."""
    given = call.form or call.request.query
    ids = (
        call.form_lists.get("job", ()) if call.form else tuple(call.request.query.getall("job", ()))
    )
    again = given.get("again") == "yes"
    texts = _read_texts(call)
    below_text = given.get("below") or None
    faults = [Fault("job", f"{one[:80]!r} is no id of a job") for one in ids if not read_uuid(one)]
    below = read_uuid(below_text) if below_text else None
    if below_text and below is None:
        faults.append(Fault("below", "is not the place of a page"))
    if not ids and not texts:
        faults.append(Fault("job", "select jobs in the list first"))
    if faults:
        raise InvalidRequest(faults)
    read = [found for found in map(read_uuid, ids) if found is not None]
    where = JobFilter.from_texts(texts) if not read else None
    fields = [("job", str(one)) for one in read] or list(texts.items())
    if below is not None:
        fields.append(("below", str(below)))
    if again:
        fields.append(("again", "yes"))
    subject = "selected jobs" if where is None else describe_jobs(replace(where, retried=None))
    return _Asked(
        JobSelection(ids=read, where=where, below=below if where is not None else None),
        tuple(fields),
        subject,
        again,
    )


def _read_texts(call: PageCall) -> dict[str, str]:
    given: Mapping[str, str] = call.form or call.request.query
    return {name: text for name in FILTER_RULES if (text := (given.get(name) or "").strip())}


def _back(asked: _Asked) -> str:
    where = asked.selection.where
    return JOBS if where is None else _url(JOBS, replace(where, retried=None).to_texts().items())


def _next_url(action: BulkAction, asked: _Asked, result: BulkResult) -> str | None:
    if result.next_below is None:
        return None
    fields = [(name, text) for name, text in asked.fields if name != "below"]
    return _url(f"{PATH}/{action}", [*fields, ("below", str(result.next_below))])


def _url(path: str, fields: Sequence[tuple[str, Any]] | Any) -> str:
    query = urlencode(list(fields))
    return f"{path}?{query}" if query else path
