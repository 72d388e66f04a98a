"""Reads why a task failed: the code of Kie's task record, such as 400, 422 or 451, and its text.

Kie sends the same codes in its callbacks. A callback only makes the next poll due now, so its code
is read from the record as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shared.catalog.kie_response_codes import IMAGE_NOT_FETCHED_CODE, parse_integer
from shared.domain.kie_outcomes import TaskFailed
from shared.domain.lifecycle import Reason

_ANY_INPUT_FAULT = 400
_REQUEST_AT_FAULT = frozenset({400, 422, IMAGE_NOT_FETCHED_CODE})
"""The input is invalid, or (451) Kie could not download an input image."""
# Kie has sent "Internal Error, Please try again later" with code 400 and refunded the task, and
# "generate playground failed, task id is blank" with 422 for a task that it had accepted.
_UPSTREAM_WORDS = re.compile(
    r"internal error|try again|timed? ?out|server|upstream|playground failed|task id is blank"
    r"|unavailable|overload|too busy",
    re.IGNORECASE,
)
# "Content-Type" does not indicate a policy violation.
_POLICY_WORDS = re.compile(
    r"polic(?:y|ies)|flagged|moderat|nsfw|violat|\bcontent\b(?![- ](?:type|length))", re.IGNORECASE
)
_FETCH_WORDS = re.compile(
    r"(?:could ?n[o']t|cannot|can't|unable to|failed to|error while|failure to)"
    r" (?:be )?(?:fetch|download|retriev|access)\w*",
    re.IGNORECASE,
)


def read_task_failure(record: Mapping[str, Any], status: str) -> TaskFailed:
    """Return the outcome of a record that reports failure.

    `status` quotes the record's status fields, for a failure without a message.
    """
    message = _first_text(record, "errorMessage", "failMsg")
    code = parse_integer(record.get("errorCode"))
    if code is None:
        code = parse_integer(record.get("failCode"))
    # Code 400 means any fault of the input, so the message tells a policy violation from an invalid
    # file. Some refusals have no code.
    by_policy = code in {None, _ANY_INPUT_FAULT} and _POLICY_WORDS.search(message) is not None
    reason = Reason.CONTENT_POLICY if by_policy else Reason.PROVIDER_FAILED
    is_request_fault = by_policy or (
        code in _REQUEST_AT_FAULT and not _UPSTREAM_WORDS.search(message)
    )
    # Kie documents code 400 as well for an image that it could not fetch.
    image_not_fetched = code == IMAGE_NOT_FETCHED_CODE or (
        is_request_fault and not by_policy and _FETCH_WORDS.search(message) is not None
    )
    message = message or f"Kie reports {status} and gives no cause"
    return TaskFailed(reason, message, is_request_fault, image_not_fetched)


def _first_text(record: Mapping[str, Any], *names: str) -> str:
    values = (record.get(name) for name in names)
    return next((one.strip() for one in values if isinstance(one, str) and one.strip()), "")
