"""A model that Kie has withdrawn is told from a request that Kie refuses, by Kie's words."""

from __future__ import annotations

from typing import Any

import pytest

from shared.catalog import KieResponse, get_family
from shared.domain.kie_outcomes import Ambiguous, ModelGone, Refused, SubmitOutcome

FAMILY = get_family("4o-image-api")
RECORDED = (
    "The model name you specified is not supported. Please verify your input and use one of the"
    " supported models provided by KIE."
)
PAUSED = "This interface is temporarily paused"


def read(code: int, message: str, status: int = 200, **more: Any) -> SubmitOutcome:
    body = {"code": code, "msg": message, "data": None, **more}
    return FAMILY.read_submit(KieResponse(status, body, ""))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (422, RECORDED),
        (404, RECORDED),
        (422, "The model name you specified is not supported"),
        (500, RECORDED),
        (500, PAUSED),
        (500, f"{PAUSED}."),
        (422, PAUSED),
        (404, "model not found"),
        (400, "invalid model"),
        (422, "Unknown model: gpt-image-2-text-to-image"),
        (422, "Model 'gpt-image/1.5-text-to-image' does not exist."),
        (422, "This model has been discontinued, use gpt-image-2-5"),
        (505, "The model flux1-kontext is currently unavailable"),
        (422, "\u6a21\u578b\u4e0d\u5b58\u5728"),
    ],
)
@pytest.mark.parametrize("is_http_error", [False, True])
def test_a_model_that_kie_does_not_have_is_gone(
    code: int, message: str, is_http_error: bool
) -> None:
    if is_http_error and code == 500:
        assert isinstance(read(code, message, 500), Ambiguous)
        return
    outcome = read(code, message, code if is_http_error else 200)
    assert isinstance(outcome, ModelGone)
    assert message in outcome.message


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (422, "model is required"),
        (500, "This field is required"),
        (500, "aspect_ratio is required"),
        (500, "resolution is not within the range of allowed options"),
        (422, "prompt\u4e0d\u80fd\u4e3a\u7a7a"),
        (422, "This model does not support transparent backgrounds"),
        (422, "The model gpt-image-2 is not supported in 4K with 1:1"),
        (422, "model input is not supported"),
        (422, "unsupported model parameter"),
        (400, "The image is not supported"),
        (422, "aspect_ratio 3:1 is not supported by this model"),
        (400, f"Your prompt is refused: {RECORDED}"),
        (505, "Feature Disabled"),
        (404, "Not Found - The requested resource or endpoint does not exist"),
    ],
)
def test_a_request_that_kie_refuses_says_nothing_about_its_model(code: int, message: str) -> None:
    assert isinstance(read(code, message), Refused)


@pytest.mark.parametrize(
    "message",
    [
        "Server exception, please try again later or contact customer service",
        "the model is unavailable",
        "upstream: model not found",
        "This interface is temporarily paused for task 4",
    ],
)
def test_another_server_error_may_have_been_paid(message: str) -> None:
    assert isinstance(read(500, message), Ambiguous)


def test_a_task_that_was_created_all_the_same_is_never_sent_again() -> None:
    assert isinstance(read(422, RECORDED, data={"taskId": "t1"}), Ambiguous)
    assert isinstance(read(422, RECORDED, status=500), Ambiguous)
