"""What a record of Kie's Market says beside its state: the charge, the callback URL, the cause."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from shared.catalog import KieResponse, get_family
from shared.domain.kie_outcomes import Delivered, TaskFailed
from shared.domain.lifecycle import Reason

FAMILY = get_family("4o-image-api")
URL = "https://tempfile.aiquickdraw.com/images/chatgpt/one.png"
CALLBACK = "https://here.example/callbacks/kie/token1"


def answer(**record: Any) -> KieResponse:
    return KieResponse(200, {"code": 200, "msg": "success", "data": {"taskId": "ab", **record}}, "")


def delivered(**record: Any) -> Delivered:
    outcome = FAMILY.read_poll(answer(state="success", resultJson={"resultUrls": [URL]}, **record))
    assert isinstance(outcome, Delivered)
    return outcome


def failed(code: str | int | None, message: str) -> TaskFailed:
    outcome = FAMILY.read_poll(answer(state="fail", failCode=code, failMsg=message))
    assert isinstance(outcome, TaskFailed)
    return outcome


@pytest.mark.parametrize(
    ("value", "credits"),
    [(6, "6"), (6.0, "6"), (0.4, "0.4"), ("10", "10"), (0, "0"), (1_000_000, "1000000")],
)
@pytest.mark.parametrize("name", ["creditsConsumed", "consumeCredits"])
def test_the_charge_is_read_as_kie_says_it(name: str, value: object, credits: str) -> None:
    assert delivered(**{name: value}).consumed_credits == Decimal(credits)


@pytest.mark.parametrize(
    "value", [None, True, -1, "six", "", [6], {"credits": 6}, "NaN", "Infinity", 1_000_001, 10**400]
)
def test_a_charge_that_is_no_number_of_credits_is_unknown_and_delivers_all_the_same(
    value: object,
) -> None:
    outcome = delivered(creditsConsumed=value)
    assert outcome.consumed_credits is None
    assert outcome.result_urls == (URL,)


def test_the_new_field_of_the_charge_is_read_before_the_old_one() -> None:
    assert delivered(creditsConsumed=10, consumeCredits=6).consumed_credits == 10
    assert delivered(creditsConsumed=None, consumeCredits=6).consumed_credits == 6


@pytest.mark.parametrize(
    ("record", "url"),
    [
        ({"param": json.dumps({"callBackUrl": CALLBACK, "input": "{}"})}, CALLBACK),
        ({"paramJson": json.dumps({"callBackUrl": CALLBACK})}, CALLBACK),
        ({"param": {"callBackUrl": CALLBACK}, "paramJson": {"callBackUrl": CALLBACK}}, CALLBACK),
        ({"param": {"callBackUrl": CALLBACK}, "paramJson": {"callBackUrl": f"{CALLBACK}x"}}, None),
        ({"param": {"callBackUrl": [CALLBACK]}}, None),
        ({"param": "{}"}, None),
        ({"param": "not json"}, None),
        ({}, None),
    ],
)
def test_the_callback_url_is_read_from_the_request_that_kie_repeats(
    record: dict[str, Any], url: str | None
) -> None:
    assert FAMILY.read_callback_url(answer(state="success", **record)) == url


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("400", "Internal Error, Please try again later."),
        ("422", "generate playground failed, task id is blank"),
        ("400", "upstream API service timed out"),
        ("400", "The service is temporarily unavailable"),
        ("500", "Upload failed: Server internal error."),
        ("500", "upstream API service timed out"),
        ("501", "Image generation task failed"),
    ],
)
def test_an_upstream_fault_is_not_held_against_the_request(code: str, message: str) -> None:
    outcome = failed(code, message)
    assert (outcome.reason, outcome.is_request_fault) == (Reason.PROVIDER_FAILED, False)
    assert outcome.message == message


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        ("400", "invalid_image_format", Reason.PROVIDER_FAILED),
        ("422", "aspect_ratio is not within the range of allowed options", Reason.PROVIDER_FAILED),
        ("451", "could not fetch image", Reason.PROVIDER_FAILED),
        ("400", "nsfw", Reason.CONTENT_POLICY),
        (None, "Your request was flagged by OpenAI", Reason.CONTENT_POLICY),
    ],
)
def test_a_fault_of_the_request_is_named_as_such(
    code: str | None, message: str, reason: Reason
) -> None:
    outcome = failed(code, message)
    assert (outcome.reason, outcome.is_request_fault) == (reason, True)


def test_a_failure_without_its_times_is_a_failure() -> None:
    outcome = FAMILY.read_poll(
        answer(
            state="fail",
            failCode="422",
            failMsg="task id is blank",
            completeTime=None,
            costTime=None,
        )
    )
    assert isinstance(outcome, TaskFailed)
