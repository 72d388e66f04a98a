"""Errors below /openai/ have OpenAI's shape, and a status by which its SDKs do what is right."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest

from producer.accounts.limit_errors import DailyLimitReached, QueueLimitReached
from producer.api.openai_api.openai_errors import convert_problem
from producer.api.responses.http_errors import TooManyRequests
from producer.api.responses.problems import Problem, internal_problem, problem, problem_from_error
from shared.errors import (
    DarkroomError,
    Fault,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidRequest,
    KeyRefused,
    PostgresDown,
    PriceMissing,
)

QUEUE_FULL = QueueLimitReached("acme", allowed=50, used=50, asked=51)
DAY_SPENT = DailyLimitReached(
    "acme",
    allowed=Decimal(50),
    used=Decimal(45),
    asked=Decimal(6),
    resets_at=datetime(2030, 1, 31, tzinfo=UTC),
    seconds=3600.5,
)
KNOWN: list[tuple[DarkroomError, int, str, str, str | None]] = [
    (KeyRefused("unknown"), 401, "invalid_request_error", "invalid_api_key", None),
    (
        InvalidRequest([Fault("size", "is 1x1"), Fault("n", "is 3")]),
        *(400, "invalid_request_error", "invalid_value", "size"),
    ),
    (
        InsufficientCredits("acme", Decimal(6), Decimal(1), Decimal(0)),
        *(429, "insufficient_quota", "insufficient_quota", None),
    ),
    (
        IdempotencyConflict("k", "j", ["n"]),
        409,
        "invalid_request_error",
        "idempotency_conflict",
        None,
    ),
    (TooManyRequests("500"), 429, "requests", "rate_limit_exceeded", None),
    (PriceMissing("m", "t", 1), 400, "invalid_request_error", "price_missing", None),
    (PostgresDown("gone"), 503, "server_error", "postgres_down", None),
    (QUEUE_FULL, 429, "requests", "rate_limit_exceeded", None),
    (DAY_SPENT, 429, "requests", "rate_limit_exceeded", None),
]


@pytest.mark.parametrize(("error", "status", "kind", "code", "param"), KNOWN)
def test_an_error_is_that_of_openai(
    error: DarkroomError, status: int, kind: str, code: str, param: str | None
) -> None:
    given = problem_from_error(error)
    assert isinstance(given, Problem)
    answer = convert_problem(given)
    body: dict[str, Any] = orjson.loads(answer.body)["error"]  # type: ignore[arg-type]
    assert (answer.status, body["type"], body["code"], body["param"]) == (status, kind, code, param)
    assert body.keys() == {"message", "type", "param", "code"}
    assert answer.content_type == "application/json"


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (KNOWN[2][0], ("false", None)),  # the credits do not come back by themselves
        (KNOWN[3][0], ("false", None)),
        (KNOWN[4][0], (None, "2")),
        (KNOWN[6][0], (None, "2")),
        (QUEUE_FULL, (None, "26")),
        (DAY_SPENT, ("false", "3601")),  # the SDK would wait for hours
    ],
)
def test_the_sdk_is_told_whether_a_retry_can_help(
    error: DarkroomError, retry: tuple[str | None, str | None]
) -> None:
    given = problem_from_error(error)
    assert isinstance(given, Problem)
    headers = convert_problem(given).headers
    # Of 429 for lack of credits, the SDK would obey Retry-After.
    assert headers.get("x-should-retry") == retry[0]
    assert retry[1] is None or headers["Retry-After"] == retry[1]


def test_errors_of_no_handler_are_converted_as_well() -> None:
    given = problem(405, "method_not_allowed", "no", headers={"Allow": "POST"})
    assert convert_problem(given).headers["Allow"] == "POST"
    made = internal_problem()
    assert isinstance(made, Problem)
    assert orjson.loads(convert_problem(made).body)["error"]["type"] == "server_error"  # type: ignore[arg-type]
