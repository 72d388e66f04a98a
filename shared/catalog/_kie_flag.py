"""Reads the task record of the families that report `successFlag`: 4o image and its siblings.

Read leniently, decided strictly. Delivered needs a success verdict, no contradicting failure,
and at least one URL. Failed needs a failure verdict and nothing that says otherwise. Whatever
else Kie sends decides nothing, and is asked for again until the job's deadline.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any
from urllib.parse import urlsplit

import orjson

from shared.catalog._envelope import whole_number
from shared.domain.lifecycle import Reason
from shared.domain.verdicts import Delivered, NoVerdict, Pending, PollVerdict, TaskFailed

_URL_LENGTH_MAX = 4096
_INPUT_AT_FAULT = 400
# "Content-Type" is a word of HTTP, not of a policy.
_POLICY_WORDS = re.compile(
    r"polic(?:y|ies)|flagged|moderat|nsfw|violat|\bcontent\b(?![- ](?:type|length))", re.IGNORECASE
)


class _Says(Enum):
    NOTHING = auto()
    RUNNING = auto()
    SUCCESS = auto()
    FAILURE = auto()


def read_record(data: Any) -> PollVerdict:
    """Judge the `data` of a record-info answer whose code is 200."""
    record = _parsed(data)
    if not isinstance(record, Mapping):
        return NoVerdict("Kie answered 200 without a task record")
    flag, status = _flag_says(record), _status_says(record)
    if flag is _Says.RUNNING and status is _Says.RUNNING:
        return Pending(_progress(record.get("progress")))
    said = {flag, status} - {_Says.NOTHING}
    if not said:
        return NoVerdict(
            f"Kie reports {_quote(record)}, which says neither yes nor no", has_record=True
        )
    if _contradict(flag, status):
        return NoVerdict(f"Kie contradicts itself: {_quote(record)}", has_record=True)
    if _Says.FAILURE in said:
        return _failure(record)
    if _Says.SUCCESS in said:
        urls = tuple(dict.fromkeys(_urls(record)))
        if not urls:
            return NoVerdict(
                f"Kie reports success ({_quote(record)}) but no image URL", has_record=True
            )
        return Delivered(urls, finished_at=_moment(record.get("completeTime")))
    return Pending(_progress(record.get("progress")))


def read_callback_url(data: Any) -> str | None:
    """Return `callBackUrl` from the `paramJson` of a record: the request as Kie took it."""
    record = _parsed(data)
    params = _parsed(record.get("paramJson")) if isinstance(record, Mapping) else None
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


def _contradict(flag: _Says, status: _Says) -> bool:
    # A flag still 0 beside a final word is one that nobody set, so the word counts. A failure
    # flag beside GENERATING is not believed: an unknown number may mean a new stage of the work.
    if {flag, status} == {_Says.SUCCESS, _Says.FAILURE}:
        return True
    return flag is _Says.FAILURE and status is _Says.RUNNING


def _quote(record: Mapping[str, Any]) -> str:
    given = (record.get("successFlag"), record.get("status"))
    flag, status = (str(v)[:40] if isinstance(v, str | int | float) else "-" for v in given)
    return f"successFlag {flag}, status {status}"


def _failure(record: Mapping[str, Any]) -> TaskFailed:
    words = record.get("errorMessage")
    message = words.strip() if isinstance(words, str) else ""
    code = whole_number(record.get("errorCode"))
    # Code 400 means any fault of the input, so the words tell a policy from a broken file. Some
    # refusals come without a code.
    by_policy = code in {None, _INPUT_AT_FAULT} and _POLICY_WORDS.search(message) is not None
    reason = Reason.CONTENT_POLICY if by_policy else Reason.PROVIDER_FAILED
    return TaskFailed(reason, message or f"Kie reports {_quote(record)} and gives no cause")


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


def _urls(record: Mapping[str, Any]) -> Iterator[str]:
    response = _parsed(record.get("response"))
    if isinstance(response, Mapping):
        for spelling in ("resultUrls", "result_urls"):
            yield from _usable(_parsed(response.get(spelling)))
    else:
        yield from _usable(response)


def _usable(found: object) -> Iterator[str]:
    for one in found if isinstance(found, list | tuple) else [found]:
        if isinstance(one, str) and _is_http_url(one.strip()):
            yield one.strip()


def _is_http_url(text: str) -> bool:
    # The one blank that is printable is the space.
    if len(text) > _URL_LENGTH_MAX or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _parsed(value: object) -> object:
    """Return what a JSON text holds, and anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
