"""Parses the envelope of Kie's responses, and maps response codes to outcomes.

Kie sends a code twice: as the HTTP status, and as `code` in the body. Errors often have HTTP 200.
Both codes are read. If they disagree, the outcome is the one that cannot send a paid request twice
or end a task.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.catalog.model_family import KieResponse
from shared.catalog.redaction import redact
from shared.catalog.withdrawn_model import says_model_is_gone
from shared.catalog.wrong_endpoint import find_endpoint_fault
from shared.domain.kie_outcomes import (
    Accepted,
    AccountBlocked,
    Ambiguous,
    Delivered,
    ModelGone,
    NoVerdict,
    PollOutcome,
    Refused,
    SubmitOutcome,
    TaskFailed,
    TryLater,
    Unreadable,
    WrongEndpoint,
)
from shared.domain.lifecycle import Reason

SUCCESS_CODE = 200
_SERVER_ERROR = 500
RETRY_LATER_CODES: Mapping[int, Reason] = {
    429: Reason.RATE_LIMITED,
    455: Reason.MAINTENANCE,
    550: Reason.PROVIDER_FULL,
}
"""No task was created. The same request may succeed later."""
ACCOUNT_BLOCKED_CODES = frozenset({401, 402, 403, 433})
"""Wrong key, no credits, a 403 of Kie's proxy, or a capped key. The account cannot submit."""
REQUEST_REFUSED_CODES = frozenset({400, 404, 422, 451, 505})
"""No task was created. The request itself is wrong."""
MODEL_GONE_CODES = REQUEST_REFUSED_CODES | {_SERVER_ERROR}
"""The codes with which Kie refuses a model as such, with a text that says so."""
SLOW_DOWN_CODES = frozenset({429, 455})
TASK_FAILED_CODES = frozenset({408, 501})
"""In a response to a poll: Kie's provider will not deliver."""
IMAGE_NOT_FETCHED_CODE = 451
"""Kie could not download an input image."""
_NO_RECORD_CODE = 422
"""In a response to a poll: "The record does not exist", "recordInfo is null"."""

_NAME = (
    r"(?!.*(?:log-?in|payment|auth|token|subscription|account|credit|retry))[\w .'\"\[\]-]{1,80}"
)
_REQUEST_FAULT_IN_500 = re.compile(
    rf"{_NAME} (?:is required|is not within the range of allowed options"
    rf"|(?:cannot|can not|must not) be (?:empty|blank|null))\.?"
    r"|.{0,80}\u4e0d\u80fd\u4e3a\u7a7a\u3002?",
    re.IGNORECASE,
)
"""Messages of request faults that Kie sends as HTTP 200 with code 500, as recorded or in the same
form. The last alternative means "cannot be empty". Any other 500 may have created a task."""
_TASK_ID_LENGTH_MAX = 200
_QUOTED_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed response: both codes, Kie's message, and the data."""

    status: int
    code: int | None
    """None if the body is not JSON or has no code."""
    message: str
    """`msg` of the body, or the start of a body that is not JSON."""
    data: Any

    @property
    def is_http_success(self) -> bool:
        """Whether the HTTP status is 2xx. The code may still be an error."""
        return 200 <= self.status < 300

    def __str__(self) -> str:
        number = f"HTTP {self.status}" if self.code is None else str(self.code)
        if self.code is not None and not self.is_http_success and self.status != self.code:
            number = f"HTTP {self.status} with code {self.code}"
        return f"Kie answered {number}" + (f": {self.message}" if self.message else "")


def parse_envelope(response: KieResponse) -> Envelope:
    """Parse a response. Parts that are not as documented become None or the raw text."""
    body = response.body
    if not isinstance(body, Mapping):
        return Envelope(response.status, None, response.text[:_QUOTED_LENGTH].strip(), None)
    message = next((w for w in (body.get("msg"), body.get("message")) if isinstance(w, str)), "")
    return Envelope(
        response.status, parse_integer(body.get("code")), message.strip(), body.get("data")
    )


def parse_integer(value: object) -> int | None:
    """Parse an integer, also from text or a float such as `200.0`. Returns None otherwise."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and len(value) <= 20:
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() else None
    return None


def read_submit(response: KieResponse) -> SubmitOutcome:
    """Return the outcome of a response to a submit. Applies to all families.

    `Accepted` needs HTTP 2xx, code 200 and a task id. A refusal needs no task id and a refusal code
    in both places, or in HTTP alone if the body has no code. A response of another endpoint is
    `WrongEndpoint` if certainly no task was created, and one about the model itself is `ModelGone`.
    All other responses are `Ambiguous`.
    """
    envelope = parse_envelope(response)
    task_id, has_task_id = _task_id(envelope.data)
    number = _deciding_number(envelope)
    if number == SUCCESS_CODE and task_id is not None:
        return Accepted(task_id)
    if has_task_id:
        return _unclear(envelope, has_task_id)
    fault = find_endpoint_fault(response, envelope.code, envelope.message)
    if fault is not None and fault.is_certain:
        return WrongEndpoint(f"the endpoint is wrong: {fault.message}")
    if fault is not None:
        message = f"the endpoint is wrong: {fault.message}; a paid task may exist"
        return Ambiguous(Reason.REPLY_LOST, message, wrong_endpoint=True)
    is_500 = envelope.status == SUCCESS_CODE and envelope.code == _SERVER_ERROR
    refusal = _SERVER_ERROR if is_500 else number
    if refusal in MODEL_GONE_CODES and says_model_is_gone(refusal, envelope.message):
        return ModelGone(str(envelope))
    if is_500 and _REQUEST_FAULT_IN_500.fullmatch(envelope.message):
        return Refused(str(envelope), _SERVER_ERROR)
    if number is None or number == SUCCESS_CODE:
        return _unclear(envelope, has_task_id)
    if number in RETRY_LATER_CODES:
        return TryLater(RETRY_LATER_CODES[number], str(envelope))
    if number in ACCOUNT_BLOCKED_CODES:
        return AccountBlocked(str(envelope), number)
    return Refused(str(envelope), number)


def _deciding_number(envelope: Envelope) -> int | None:
    """Return the code that status and body agree on, or None."""
    status, code = envelope.status, envelope.code
    if envelope.is_http_success:
        return code if code == SUCCESS_CODE or _is_refusal(code) else None
    if _is_refusal(status) and (code is None or _is_refusal(code)):
        return status if code is None else code
    # HTTP 500 with code 429, or HTTP 422 with code 200: a task may exist.
    return None


def _is_refusal(number: int | None) -> bool:
    return (
        number in RETRY_LATER_CODES
        or number in ACCOUNT_BLOCKED_CODES
        or number in REQUEST_REFUSED_CODES
    )


def _task_id(data: object) -> tuple[str | None, bool]:
    """Return the task id if it is valid, and whether the data has any task id."""
    if not isinstance(data, Mapping):
        return None, False
    given = data.get("taskId") or data.get("task_id")
    task_id = given.strip() if isinstance(given, str) else ""
    usable = 0 < len(task_id) <= _TASK_ID_LENGTH_MAX and task_id.isprintable()
    return (task_id if usable else None), bool(given)


def _unclear(envelope: Envelope, has_task_id: bool) -> Ambiguous:
    numbers = (envelope.status, envelope.code or 0)
    reason = Reason.SERVER_ERROR if max(numbers) >= 500 else Reason.REPLY_LOST
    lacks = "; it named a task all the same" if has_task_id else ", without a usable task id"
    return Ambiguous(reason, f"{envelope}{lacks}: a paid task may exist")


def read_poll(response: KieResponse, read_task_record: Callable[[Any], PollOutcome]) -> PollOutcome:
    """Return the outcome of a response to a poll. `read_task_record` reads `data` of code 200."""
    envelope = parse_envelope(response)
    if envelope.is_http_success and envelope.code == SUCCESS_CODE:
        return read_task_record(envelope.data)
    fault = find_endpoint_fault(response, envelope.code, envelope.message)
    if fault is not None:
        return NoVerdict(f"the endpoint is wrong: {fault.message}", wrong_endpoint=True)
    numbers = {envelope.status, envelope.code}
    if numbers & ACCOUNT_BLOCKED_CODES:
        return NoVerdict(str(envelope), account_blocked=True)
    if numbers & SLOW_DOWN_CODES:
        return NoVerdict(str(envelope), slow_down=True)
    # HTTP 408 or 501 without an envelope is from a proxy. Only Kie's own code ends a task.
    by_kie = envelope.is_http_success or envelope.status == envelope.code
    if envelope.code in TASK_FAILED_CODES and by_kie:
        if isinstance(read_task_record(envelope.data), Delivered | Unreadable):
            message = f"{envelope}, around a record that says success"
            return Unreadable(message, redact(envelope.data))
        return TaskFailed(Reason.PROVIDER_FAILED, str(envelope))
    lacks_record = by_kie and envelope.code == _NO_RECORD_CODE and envelope.data is None
    return NoVerdict(str(envelope), lacks_record=lacks_record)
