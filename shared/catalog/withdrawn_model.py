"""Recognises responses by which Kie makes no images with a model at all.

Kie has withdrawn, renamed or paused the model. Every request for it would get the same response,
so it says nothing about the request of a job. Kie sends the same codes for faults of a request. The
text tells them apart: its subject is the model itself, and it names no field and no option. A text
such as "this model does not support 4K" is about a request.
"""

from __future__ import annotations

import re

_SERVER_ERROR = 500
_END = r"\s*(?:[.,;!\u3002]|$)"
_NAME = r"(?:['\"`][\w./-]+['\"`]|[\w.]*[\d/-][\w./-]*)"
"""A name of a model: in quotes, or with a digit, a dash or a slash, unlike the name of a field."""
_GONE = (
    r"(?:not (?:supported|found|available)|unsupported|unavailable|unknown|offline|removed|retired"
    r"|deprecated|discontinued|withdrawn|disabled|deleted|paused|suspended"
    r"|no longer (?:supported|available|offered))"
)
_RECORDED = (
    rf"the model name you specified is not supported{_END}"
    rf"|this (?:interface|model) is temporarily paused{_END}"
)
_DOES_NOT_EXIST, _IS_NOT_SUPPORTED, _IS_OFFLINE = (
    "\u6a21\u578b\u4e0d\u5b58\u5728",
    "\u6a21\u578b\u4e0d\u652f\u6301",
    "\u6a21\u578b\u5df2\u4e0b\u7ebf",
)
"""In Chinese, in which Kie sends some texts."""
_LIKE_RECORDED = (
    rf"(?:the |this )?model(?: name| id)?(?: you specified)?(?: {_NAME})?"
    rf" (?:(?:is|was|has been) (?:currently |temporarily |permanently )?{_GONE}"
    rf"|(?:does not|doesn't) exist|not (?:found|supported)){_END}"
    rf"|(?:invalid|unknown|unsupported) model(?: name| id)?(?:: ?{_NAME}| {_NAME})?{_END}"
    rf"|(?:{_DOES_NOT_EXIST}|{_IS_NOT_SUPPORTED}|{_IS_OFFLINE}){_END}"
)
_IN_REFUSALS = re.compile(f"{_RECORDED}|{_LIKE_RECORDED}", re.IGNORECASE)
_IN_SERVER_ERRORS = re.compile(_RECORDED, re.IGNORECASE)
"""Another text with code 500 may be about a task that exists."""


def says_model_is_gone(code: int, message: str) -> bool:
    """Return whether Kie makes no images with the model. Then it has created no task.

    `code` is that of Kie's envelope, a refusal or 500. `message` is its text.
    """
    pattern = _IN_SERVER_ERRORS if code == _SERVER_ERROR else _IN_REFUSALS
    return pattern.match(message) is not None
