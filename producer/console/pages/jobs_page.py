"""The list of jobs: filters in the URL, newest first, in keyset pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import urlencode
from uuid import UUID

from producer.console.page import CONSOLE, PageCall, PageView
from producer.console.pages.job_images import thumbnail_of
from producer.job_ids import read_uuid
from producer.jobs.job_filter import FILTER_RULES, JobFilter
from producer.jobs.job_mask import MASKED_FILTERS, mask_job
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
    rows = _Rows([])
    try:
        where = _read_filter(call, texts)
        below = _read_id(call.query("cursor"), "cursor", "the place of a page")
        shown = _read_shown(call.query("shown"))
    except InvalidRequest as error:
        faults = {fault.field: fault.message for fault in error.faults}
    else:
        rows = await _read_rows(call, where, below, shown)
    jobs = rows.jobs if call.sees_prompts else [mask_job(job) for job in rows.jobs]
    cursor = call.query("cursor")
    own_url = _list_url(texts, **({"cursor": cursor} if cursor else {}))
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
        "own_url": own_url,
        "many_url": _list_url(texts).replace(PATH, f"{PATH}/many", 1),
        "older_url": _list_url(texts, cursor=rows.older) if rows.older else None,
        # The same rows again, so that no row moves: neither for new jobs nor for those that have
        # another state by now.
        "refresh_url": _with_shown(own_url, jobs) if jobs else call.url,
        "news": rows.news,
        "is_first": cursor is None,
    }
    return PageView("jobs.html", values, status=422 if faults else 200)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a page."""

    jobs: Sequence[Job]
    older: UUID | None = None
    """The cursor of the next page, if there is one."""
    news: str | None = None
    """What is different since the page was opened."""


async def _read_rows(
    call: PageCall, where: JobFilter, below: UUID | None, shown: Sequence[UUID]
) -> _Rows:
    """Return the page of the list, or the rows that a live update reads again."""
    if not shown:
        page = await call.producer.page(where, below=below, limit=PAGE_ROWS)
        return _Rows(page.jobs, page.next_below)
    jobs = await call.producer.get_many(shown)
    page = await call.producer.page(
        where, below=below, limit=PAGE_ROWS, without=("request", "metadata", "estimate")
    )
    now = [job.id for job in page.jobs]
    has_older = page.next_below is not None or bool(now and now[-1] < shown[-1])
    news = None
    if now != list(shown):
        has_newer = bool(now) and now[0] > shown[0]
        news = (
            "Newer jobs have arrived: show them" if has_newer else "The list has changed: show it"
        )
    return _Rows(jobs, shown[-1] if has_older else None, news)


def _read_filter(call: PageCall, texts: Mapping[str, str]) -> JobFilter:
    unknown = sorted(set(call.request.query) - set(FILTER_RULES) - {"cursor", "shown"})
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


def _read_id(text: str | None, field: str, what: str) -> UUID | None:
    if text is None:
        return None
    found = read_uuid(text)
    if found is None:
        raise InvalidRequest([Fault(field, f"{text[:80]!r} is not {what}")])
    return found


def _read_shown(text: str | None) -> list[UUID]:
    """Return the ids of the rows that the page has."""
    given = text.split(",", PAGE_ROWS) if text else []
    read = (_read_id(id_text, "shown", "the id of a job") for id_text in given)
    return [one for one in read if one is not None]


def _with_shown(url: str, jobs: Sequence[Job]) -> str:
    return f"{url}{'&' if '?' in url else '?'}shown={','.join(str(job.id) for job in jobs)}"


def _list_url(texts: Mapping[str, str], **changes: Any) -> str:
    given = {**texts, **{name: str(value) for name, value in changes.items()}}
    query = urlencode({name: value for name, value in given.items() if value})
    return f"{PATH}?{query}" if query else PATH
