"""The list of jobs: filters in the URL, newest first, in keyset pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args
from urllib.parse import urlencode
from uuid import UUID

from producer.console.page import CONSOLE, PageCall, PageView
from producer.console.pages.job_images import thumbnail_of
from producer.job_ids import read_uuid
from producer.jobs.job_filter import FILTER_RULES, JobFilter
from producer.jobs.job_mask import MASKED_FILTERS, mask_job
from producer.list_pages import JobPage
from shared.domain.job import Job, Priority
from shared.domain.lifecycle import JobState, Reason
from shared.errors import Fault, InvalidRequest

PATH = f"{CONSOLE}/jobs"
PAGE_ROWS = 50
_UNCOMMON_FILTERS = frozenset(FILTER_RULES) - {"account_id", "state", "scheduled", "reason", "id"}
_TABS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("All", {}),
    ("Scheduled", {"state": JobState.QUEUED.value, "scheduled": "true"}),
    ("Waiting", {"state": JobState.QUEUED.value, "scheduled": "false"}),
    *((state.value.capitalize(), {"state": state.value}) for state in JobState),
)
"""The name of each tab, and its filters."""
_TAB_FILTERS = ("state", "scheduled")


async def show_jobs(call: PageCall) -> PageView:
    """Show a page of jobs. Errors of filters are shown next to their fields."""
    texts = {name: value for name in FILTER_RULES if (value := call.query(name)) is not None}
    faults: dict[str, str] = {}
    page = JobPage([], None)
    newest: Job | None = None
    try:
        where = _read_filter(call, texts)
        below = _read_cursor(call.query("cursor"))
    except InvalidRequest as error:
        faults = {fault.field: fault.message for fault in error.faults}
    else:
        page = await call.producer.page(where, below=below, limit=PAGE_ROWS)
        if below is not None:
            newest = next(iter((await call.producer.page(where, limit=1)).jobs), None)
    jobs = page.jobs if call.sees_prompts else [mask_job(job) for job in page.jobs]
    values = {
        "jobs": jobs,
        "thumbnails": {job.id: thumbnail_of(job, has_store=call.shows_copies) for job in jobs},
        "texts": texts,
        "faults": faults,
        "tabs": [(name, *_tab_of(texts, filters)) for name, filters in _TABS],
        "reasons": [str(reason) for reason in Reason],
        "priorities": get_args(Priority),
        "uncommon": sorted(_UNCOMMON_FILTERS & {*texts, *faults}),
        "list_url": _list_url(texts),
        "many_url": _list_url(texts).replace(PATH, f"{PATH}/many", 1),
        "older_url": _list_url(texts, cursor=page.next_below) if page.next_below else None,
        # The same rows again: those of jobs that are newer do not move them.
        "refresh_url": _list_url(texts, cursor=_above(jobs[0].id)) if jobs else call.url,
        "has_newer": newest is not None and bool(jobs) and newest.id > jobs[0].id,
        "is_first": call.query("cursor") is None,
    }
    return PageView("jobs.html", values, status=422 if faults else 200)


def _read_filter(call: PageCall, texts: Mapping[str, str]) -> JobFilter:
    unknown = sorted(set(call.request.query) - set(FILTER_RULES) - {"cursor"})
    faults = [Fault(name, "is no filter of this list") for name in unknown]
    if not call.sees_prompts:
        # Otherwise a viewer could find out by guessing what is masked.
        faults += [
            Fault(name, "is not for viewers, who do not see it")
            for name in sorted(MASKED_FILTERS & {*texts})
        ]
    try:
        where = JobFilter.from_texts(texts)
    except InvalidRequest as error:
        raise InvalidRequest([*faults, *error.faults]) from None
    if faults:
        raise InvalidRequest(faults)
    return where


def _tab_of(texts: Mapping[str, str], filters: Mapping[str, str]) -> tuple[str, bool]:
    """Return the URL of a tab, and whether the list is that of the tab."""
    url = _list_url(texts, **{name: filters.get(name, "") for name in _TAB_FILTERS})
    return url, all(texts.get(name) == filters.get(name) for name in _TAB_FILTERS)


def _read_cursor(text: str | None) -> UUID | None:
    if text is None:
        return None
    found = read_uuid(text)
    if found is None:
        raise InvalidRequest([Fault("cursor", f"{text[:80]!r} is not the place of a page")])
    return found


def _above(job_id: UUID) -> UUID:
    """Return the cursor of the page that begins with this job."""
    return UUID(int=min(job_id.int + 1, 2**128 - 1))


def _list_url(texts: Mapping[str, str], **changes: Any) -> str:
    given = {**texts, **{name: str(value) for name, value in changes.items()}}
    query = urlencode({name: value for name, value in given.items() if value})
    return f"{PATH}?{query}" if query else PATH
