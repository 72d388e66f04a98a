"""Redacts a response of Kie, so that it can be stored and shown to operators.

Prompts, input images, keys and callback URLs are removed. Numbers, result URLs and Kie's state
values stay. Other texts are replaced by their length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from shared.catalog.kie_result_urls import parse_json_text

ANSWER_LENGTH_MAX = 4_000
_DEPTH_MAX = 6
_ENTRIES_MAX = 20
_TEXT_LENGTH_MAX = 600
_HIDDEN = re.compile(
    r"prompt|param|input|token|secret|key|authori[sz]|call_?back|files?_?url|mask|origin",
    re.IGNORECASE,
)
_CALLBACK_PATH = "/callbacks/kie/"
_SHOWN_TEXT = frozenset(
    {
        *("taskId", "recordId", "model", "successFlag", "status", "state", "progress"),
        *("errorCode", "errorMessage", "failCode", "failMsg", "creditsConsumed", "costTime"),
        *("createTime", "completeTime", "updateTime", "operationType"),
    }
)


def redact(data: object) -> str:
    """Return the data as JSON text of limited length, without secret or private values."""
    text = orjson.dumps(_shown("", data, 0), default=str).decode()
    return text if len(text) <= ANSWER_LENGTH_MAX else text[: ANSWER_LENGTH_MAX - 1] + "…"


def _shown(name: str, value: object, depth: int) -> object:
    if _HIDDEN.search(name):
        return "[hidden]"
    value = parse_json_text(value)
    if isinstance(value, Mapping | list) and depth >= _DEPTH_MAX:
        return "[nested too deeply]"
    if isinstance(value, Mapping):
        entries = list(value.items())[:_ENTRIES_MAX]
        return {str(one)[:80]: _shown(str(one), inner, depth + 1) for one, inner in entries}
    if isinstance(value, list):
        return [_shown(name, inner, depth + 1) for inner in value[:_ENTRIES_MAX]]
    if isinstance(value, str):
        return _shown_text(name, value)
    return value if isinstance(value, bool | float | None) else _shown_number(value)


def _shown_number(value: object) -> object:
    # orjson cannot encode integers above 64 bits.
    return value if isinstance(value, int) and abs(value) < 2**53 else str(value)[:40]


def _shown_text(name: str, text: str) -> str:
    is_url = text.strip().lower().startswith(("http://", "https://"))
    if _CALLBACK_PATH in text or not (is_url or name in _SHOWN_TEXT):
        return f"[text of {len(text)} characters]"
    return text if len(text) <= _TEXT_LENGTH_MAX else text[: _TEXT_LENGTH_MAX - 1] + "…"
