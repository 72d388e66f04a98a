"""Reads Kie's task record: `successFlag` and `status`, and `state` of the Market API.

`Delivered` needs a success signal, no failure signal, and certain images. `TaskFailed` needs a
failure signal and no contradiction. A success that is contradicted, or whose images are not
certain, is `Unreadable`, and an operator decides. All other records decide nothing: the task is
polled until the job's deadline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum, auto
from typing import Any

from shared.catalog.kie_response_codes import parse_integer
from shared.catalog.kie_result_urls import has_result_field, parse_json_text, read_result_urls
from shared.catalog.kie_task_failure_codes import read_task_failure
from shared.catalog.redaction import redact
from shared.domain.kie_outcomes import (
    Delivered,
    NoVerdict,
    Pending,
    PollOutcome,
    Unreadable,
)


class _Signal(Enum):
    NOTHING = auto()
    RUNNING = auto()
    SUCCESS = auto()
    FAILURE = auto()


_CREDIT_FIELDS = ("creditsConsumed", "consumeCredits")
_CREDITS_MAX = 1_000_000
"""The limit of `pricing.provider_credits`. A larger number is not a charge."""
_STATES = {
    "waiting": _Signal.RUNNING,
    "queuing": _Signal.RUNNING,
    "generating": _Signal.RUNNING,
    "success": _Signal.SUCCESS,
    "fail": _Signal.FAILURE,
}


def read_task_record(data: Any) -> PollOutcome:
    """Return the outcome for the `data` of a record-info response with code 200."""
    record = parse_json_text(data)
    if not isinstance(record, Mapping):
        return NoVerdict("Kie answered 200 without a task record", lacks_record=record is None)
    flag = _signal_of_flag(record)
    states = (_signal_of_status(record), _signal_of_state(record))
    signals = {flag, *states} - {_Signal.NOTHING}
    if _Signal.SUCCESS in signals:
        return _success(record, is_contradicted=_Signal.FAILURE in signals)
    if not signals:
        return _undecided(record)
    if _Signal.FAILURE not in signals:
        return Pending(_progress(record.get("progress")))
    # A flag of 0 beside a final state was never set, so the state counts. A failure beside a
    # running state is not trusted: the task may be in a new stage.
    if _Signal.RUNNING in states:
        return NoVerdict(f"Kie contradicts itself: {_quote(record)}", has_record=True)
    return read_task_failure(record, _quote(record))


def _success(record: Mapping[str, Any], *, is_contradicted: bool) -> PollOutcome:
    if is_contradicted:
        return Unreadable(f"Kie contradicts itself: {_quote(record)}", redact(record))
    images = read_result_urls(record)
    if images.fault is not None:
        message = f"Kie reports success ({_quote(record)}), but {images.fault}"
        return Unreadable(message, redact(record))
    return Delivered(
        images.urls,
        finished_at=_parse_time(record.get("completeTime")),
        consumed_credits=_parse_credits(record),
    )


def _undecided(record: Mapping[str, Any]) -> PollOutcome:
    message = f"Kie reports {_quote(record)}, which says neither yes nor no"
    if has_result_field(record):
        return Unreadable(f"{message}, beside a result", redact(record))
    return NoVerdict(message, has_record=True)


def read_callback_url(data: Any) -> str | None:
    """Return `callBackUrl` of the request as Kie accepted it: `paramJson`, `param` of the Market.

    Returns None if the two differ.
    """
    record = parse_json_text(data)
    if not isinstance(record, Mapping):
        return None
    accepted = (parse_json_text(record.get(name)) for name in ("paramJson", "param"))
    given = (one.get("callBackUrl") for one in accepted if isinstance(one, Mapping))
    urls = {url for url in given if isinstance(url, str) and url}
    return urls.pop() if len(urls) == 1 else None


def _signal_of_flag(record: Mapping[str, Any]) -> _Signal:
    flag = parse_integer(record.get("successFlag"))
    if flag is None:
        return _Signal.NOTHING
    # The documentation has 0, 1 and 2. A recorded failure of another model has 3.
    return {0: _Signal.RUNNING, 1: _Signal.SUCCESS}.get(flag, _Signal.FAILURE)


def _signal_of_status(record: Mapping[str, Any]) -> _Signal:
    status = record.get("status")
    word = status.strip().upper() if isinstance(status, str) else ""
    if word.endswith("_FAILED"):
        return _Signal.FAILURE
    return {"GENERATING": _Signal.RUNNING, "SUCCESS": _Signal.SUCCESS}.get(word, _Signal.NOTHING)


def _signal_of_state(record: Mapping[str, Any]) -> _Signal:
    """Read `state` of the Market API. Unknown states are no signal."""
    state = record.get("state")
    word = state.strip().lower() if isinstance(state, str) else ""
    return _STATES.get(word, _Signal.NOTHING)


def _quote(record: Mapping[str, Any]) -> str:
    flag, status, state = (
        str(value)[:40] if isinstance(value, str | int | float) else "-"
        for value in (record.get("successFlag"), record.get("status"), record.get("state"))
    )
    quoted = f"successFlag {flag}, status {status}"
    return quoted if state == "-" else f"{quoted}, state {state}"


def _progress(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return 0.0
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return 0.0
    return 0.0 if math.isnan(number) else min(max(number, 0.0), 1.0)


def _parse_credits(record: Mapping[str, Any]) -> Decimal | None:
    """Parse `creditsConsumed`, or `consumeCredits` of older records. Returns None if unclear."""
    value = next((record[name] for name in _CREDIT_FIELDS if record.get(name) is not None), None)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value)[:40])
    except InvalidOperation:
        return None
    return number if number.is_finite() and 0 <= number <= _CREDITS_MAX else None


def _parse_time(value: object) -> datetime | None:
    """Parse epoch milliseconds, or ISO text with a time zone. Text without a zone is ambiguous."""
    milliseconds = parse_integer(value)
    try:
        if milliseconds:
            return datetime.fromtimestamp(milliseconds / 1000, UTC)
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
    return time if time is not None and time.tzinfo is not None else None
