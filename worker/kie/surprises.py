"""Finds what Kie's responses contain and no reader knows: new fields, words and codes.

A reader ignores what it does not know, or decides nothing by it. So a change of Kie's API may go
unnoticed for months. Each such part is counted, and one example a day is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.catalog import KieResponse
from shared.catalog.kie_response_codes import (
    ACCOUNT_BLOCKED_CODES,
    REQUEST_REFUSED_CODES,
    RETRY_LATER_CODES,
    SUCCESS_CODE,
    TASK_FAILED_CODES,
    parse_integer,
)
from shared.catalog.kie_result_urls import parse_json_text

VALUE_LENGTH_MAX = 80
SURPRISES_PER_RESPONSE_MAX = 8
KINDS = ("code", "failure_code", "field", "state", "status", "success_flag")
"""The kinds of surprises; a label of the metric."""

_CODES = (
    frozenset({SUCCESS_CODE, 500})
    | RETRY_LATER_CODES.keys()
    | ACCOUNT_BLOCKED_CODES
    | REQUEST_REFUSED_CODES
    | TASK_FAILED_CODES
)
_FAILURE_CODES = frozenset({200, 400, 422, 451, 500, 501})
_ENVELOPE = frozenset({"code", "msg", "message", "data"})
_CREATED = frozenset({"taskId", "task_id", "recordId"})
_RECORD = frozenset(
    {
        *("taskId", "recordId", "model", "state", "status", "successFlag", "progress"),
        *("param", "paramJson", "resultJson", "resultInfoJson", "response", "info"),
        *("resultUrls", "result_urls", "resultImageUrl", "operationType"),
        *("errorCode", "errorMessage", "failCode", "failMsg"),
        *("createTime", "completeTime", "updateTime", "costTime"),
        *("creditsConsumed", "consumeCredits", "remainedCredits"),
    }
)
_RESULT = frozenset({"resultUrls", "result_urls", "resultImageUrl", "originImageUrl", "resultUrl"})
_STATES = frozenset({"waiting", "queuing", "generating", "success", "fail"})
_STATUSES = frozenset({"GENERATING", "SUCCESS", "CREATE_TASK_FAILED", "GENERATE_FAILED"})
_FLAGS = frozenset({0, 1, 2, 3})


@dataclass(frozen=True, slots=True)
class Surprise:
    """One part of a response that no reader knows."""

    kind: str
    """One of `KINDS`."""
    value: str
    """The name of the field, or the word or code. At most 80 characters."""


def find_surprises(endpoint: str, response: KieResponse) -> tuple[Surprise, ...]:
    """Return what the response to `endpoint` ('submit' or 'poll') contains and no reader knows.

    A response without Kie's envelope is another endpoint's, which the readers report.
    """
    body = response.body
    if type(body) is not dict or "code" not in body:
        return ()
    data = body.get("data")
    is_known = body.keys() <= _ENVELOPE and body["code"] in _CODES
    if is_known and (not data or (type(data) is dict and data.keys() <= _CREATED)):
        return ()
    found = [*_find_in_envelope(body)]
    if isinstance(data, Mapping):
        record = _find_in_record(data) if endpoint == "poll" else _unknown_fields(data, _CREATED)
        found += record
    return tuple(found[:SURPRISES_PER_RESPONSE_MAX])


def _find_in_envelope(body: Mapping[str, Any]) -> Iterator[Surprise]:
    yield from _unknown_fields(body, _ENVELOPE)
    code = parse_integer(body["code"])
    if code not in _CODES:
        yield _surprise("code", body["code"])


def _find_in_record(record: Mapping[str, Any]) -> Iterator[Surprise]:
    yield from _unknown_fields(record, _RECORD)
    yield from _unknown_word(record, "state", _STATES, str.lower)
    yield from _unknown_word(record, "status", _STATUSES, str.upper)
    flag = record.get("successFlag")
    if flag is not None and parse_integer(flag) not in _FLAGS:
        yield _surprise("success_flag", flag)
    for name in ("errorCode", "failCode"):
        code = record.get(name)
        if code not in (None, "") and parse_integer(code) not in _FAILURE_CODES:
            yield _surprise("failure_code", code)
    for name in ("response", "resultJson"):
        result = parse_json_text(record.get(name))
        if isinstance(result, Mapping):
            yield from _unknown_fields(result, _RESULT)


def _unknown_fields(given: Mapping[str, Any], known: frozenset[str]) -> Iterator[Surprise]:
    for name in given.keys() - known:
        yield _surprise("field", name)


def _unknown_word(
    record: Mapping[str, Any], name: str, known: frozenset[str], fold: Any
) -> Iterator[Surprise]:
    word = record.get(name)
    if word in (None, ""):
        return
    if not isinstance(word, str) or fold(word.strip()) not in known:
        yield _surprise(name, word)


def _surprise(kind: str, value: object) -> Surprise:
    text = "".join(c if c.isprintable() else "?" for c in str(value)[:VALUE_LENGTH_MAX])
    return Surprise(kind, text)
