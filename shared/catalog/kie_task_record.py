"""Reads Kie's task record: by `successFlag` and `status`, and by the Market's `state`.

Read leniently, decided strictly. Delivered needs a success verdict, no contradicting failure, and
images that are certain. Failed needs a failure verdict and nothing that says otherwise. A success
that is contradicted, or whose images are not certain, is unreadable: an operator decides. Whatever
else Kie sends decides nothing, and is asked for again until the job's deadline.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

from shared.catalog.kie_response_codes import whole_number
from shared.catalog.kie_result_urls import names_an_image, parsed, read_images
from shared.catalog.redaction import masked
from shared.domain.kie_outcomes import (
    Delivered,
    NoVerdict,
    Pending,
    PollVerdict,
    TaskFailed,
    Unreadable,
)
from shared.domain.lifecycle import Reason

_INPUT_AT_FAULT = 400
_REQUEST_AT_FAULT = frozenset({400, 422, 451})
# "Internal Error, Please try again later" has come under code 400, and was refunded.
_UPSTREAM_WORDS = re.compile(r"internal error|try again|timed? ?out|server", re.IGNORECASE)
# "Content-Type" is a word of HTTP, not of a policy.
_POLICY_WORDS = re.compile(
    r"polic(?:y|ies)|flagged|moderat|nsfw|violat|\bcontent\b(?![- ](?:type|length))", re.IGNORECASE
)


class _Says(Enum):
    NOTHING = auto()
    RUNNING = auto()
    SUCCESS = auto()
    FAILURE = auto()


_STATES = {
    "waiting": _Says.RUNNING,
    "queuing": _Says.RUNNING,
    "generating": _Says.RUNNING,
    "success": _Says.SUCCESS,
    "fail": _Says.FAILURE,
}


def read_record(data: Any) -> PollVerdict:
    """Judge the `data` of a record-info answer whose code is 200."""
    record = parsed(data)
    if not isinstance(record, Mapping):
        return NoVerdict("Kie answered 200 without a task record", lacks_record=record is None)
    flag, words = _flag_says(record), (_status_says(record), _state_says(record))
    said = {flag, *words} - {_Says.NOTHING}
    if _Says.SUCCESS in said:
        return _success(record, is_contradicted=_Says.FAILURE in said)
    if not said:
        return _undecided(record)
    if _Says.FAILURE not in said:
        return Pending(_progress(record.get("progress")))
    # A flag still 0 beside a final word is one that nobody set, so the word counts. A failure
    # beside a word that says "running" is not believed: it may mean a new stage of the work.
    if _Says.RUNNING in words:
        return NoVerdict(f"Kie contradicts itself: {_quote(record)}", has_record=True)
    return _failure(record)


def _success(record: Mapping[str, Any], *, is_contradicted: bool) -> PollVerdict:
    if is_contradicted:
        return Unreadable(f"Kie contradicts itself: {_quote(record)}", masked(record))
    images = read_images(record)
    if images.fault is not None:
        message = f"Kie reports success ({_quote(record)}), but {images.fault}"
        return Unreadable(message, masked(record))
    return Delivered(images.urls, finished_at=_moment(record.get("completeTime")))


def _undecided(record: Mapping[str, Any]) -> PollVerdict:
    message = f"Kie reports {_quote(record)}, which says neither yes nor no"
    if names_an_image(record):
        return Unreadable(f"{message}, beside a result", masked(record))
    return NoVerdict(message, has_record=True)


def read_callback_url(data: Any) -> str | None:
    """Return `callBackUrl` from the `paramJson` of a record: the request as Kie took it."""
    record = parsed(data)
    params = parsed(record.get("paramJson")) if isinstance(record, Mapping) else None
    url = params.get("callBackUrl") if isinstance(params, Mapping) else None
    return url if isinstance(url, str) and url else None


def _flag_says(record: Mapping[str, Any]) -> _Says:
    flag = whole_number(record.get("successFlag"))
    if flag is None:
        return _Says.NOTHING
    # Documented are 0, 1 and 2; a sibling's recorded failure used 3.
    return {0: _Says.RUNNING, 1: _Says.SUCCESS}.get(flag, _Says.FAILURE)


def _status_says(record: Mapping[str, Any]) -> _Says:
    status = record.get("status")
    word = status.strip().upper() if isinstance(status, str) else ""
    if word.endswith("_FAILED"):
        return _Says.FAILURE
    return {"GENERATING": _Says.RUNNING, "SUCCESS": _Says.SUCCESS}.get(word, _Says.NOTHING)


def _state_says(record: Mapping[str, Any]) -> _Says:
    """Read the Market's word; one that is not in its list says nothing."""
    state = record.get("state")
    word = state.strip().lower() if isinstance(state, str) else ""
    return _STATES.get(word, _Says.NOTHING)


def _quote(record: Mapping[str, Any]) -> str:
    flag, status, state = (
        str(value)[:40] if isinstance(value, str | int | float) else "-"
        for value in (record.get("successFlag"), record.get("status"), record.get("state"))
    )
    quoted = f"successFlag {flag}, status {status}"
    return quoted if state == "-" else f"{quoted}, state {state}"


def _failure(record: Mapping[str, Any]) -> TaskFailed:
    message = _first_text(record, "errorMessage", "failMsg")
    code = whole_number(record.get("errorCode"))
    if code is None:
        code = whole_number(record.get("failCode"))
    # Code 400 means any fault of the input, so the words tell a policy from a broken file. Some
    # refusals come without a code.
    by_policy = code in {None, _INPUT_AT_FAULT} and _POLICY_WORDS.search(message) is not None
    reason = Reason.CONTENT_POLICY if by_policy else Reason.PROVIDER_FAILED
    by_request = by_policy or (code in _REQUEST_AT_FAULT and not _UPSTREAM_WORDS.search(message))
    said = message or f"Kie reports {_quote(record)} and gives no cause"
    return TaskFailed(reason, said, by_request)


def _first_text(record: Mapping[str, Any], *names: str) -> str:
    values = (record.get(name) for name in names)
    return next((one.strip() for one in values if isinstance(one, str) and one.strip()), "")


def _progress(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return 0.0
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return 0.0
    return 0.0 if math.isnan(number) else min(max(number, 0.0), 1.0)


def _moment(value: object) -> datetime | None:
    """Read epoch milliseconds or ISO text with a zone; text without one could be any zone."""
    milliseconds = whole_number(value)
    try:
        if milliseconds:
            return datetime.fromtimestamp(milliseconds / 1000, UTC)
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
