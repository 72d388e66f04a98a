"""Every known quirk of Kie's task records, read leniently and decided strictly."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.catalog import KieResponse
from shared.catalog.families.gpt4o_image import FAMILY
from shared.domain.kie_outcomes import (
    Delivered,
    NoVerdict,
    Pending,
    PollOutcome,
    TaskFailed,
    Unreadable,
)

ONE = "https://tempfile.aiquickdraw.com/s/one.png"
TWO = "https://tempfile.aiquickdraw.com/s/two.png"


def read(**data: Any) -> PollOutcome:
    return read_data({"taskId": "ab12", **data})


def read_data(data: Any) -> PollOutcome:
    body = {"code": 200, "msg": "success", "data": data}
    return FAMILY.read_poll(KieResponse(200, body, json.dumps(body)))


@pytest.mark.parametrize(
    ("flag", "status", "expected"),
    [
        (0, "GENERATING", Pending),
        (0, None, Pending),
        (0, "SOMETHING_NEW", Pending),
        (None, "GENERATING", Pending),
        ("0", "generating", Pending),
        (1, "SUCCESS", Delivered),
        (1, None, Delivered),
        ("1", None, Delivered),
        (1.0, None, Delivered),
        (1, "SOMETHING_NEW", Delivered),
        (None, "SUCCESS", Delivered),
        (None, " success ", Delivered),
        (0, "SUCCESS", Delivered),
        (1, "GENERATING", Delivered),
        (2, None, TaskFailed),
        (3, None, TaskFailed),
        ("3", None, TaskFailed),
        (4, "SOMETHING_NEW", TaskFailed),
        (2, "CREATE_TASK_FAILED", TaskFailed),
        (3, "GENERATE_FAILED", TaskFailed),
        (None, "CREATE_TASK_FAILED", TaskFailed),
        (None, "generate_failed", TaskFailed),
        (None, "UPLOAD_FAILED", TaskFailed),
        (0, "GENERATE_FAILED", TaskFailed),
        (2, "SUCCESS", Unreadable),
        (3, "SUCCESS", Unreadable),
        (1, "GENERATE_FAILED", Unreadable),
        (1, "CREATE_TASK_FAILED", Unreadable),
        (2, "GENERATING", NoVerdict),
        (None, None, Unreadable),
        (None, "SOMETHING_NEW", Unreadable),
        (True, None, Unreadable),
        ("yes", 5, Unreadable),
        ([1], {"a": 1}, Unreadable),
    ],
)
def test_flag_and_status_decide_together(flag: Any, status: Any, expected: type) -> None:
    assert type(read(successFlag=flag, status=status, response={"resultUrls": [ONE]})) is expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"state": "waiting"}, Pending),
        ({"state": "queuing"}, Pending),
        ({"state": "generating", "resultJson": ""}, Pending),
        ({"state": "success", "resultJson": json.dumps({"resultUrls": [ONE]})}, Delivered),
        ({"state": " SUCCESS ", "response": {"resultUrls": [ONE]}}, Delivered),
        ({"state": "success", "successFlag": 0, "response": {"resultUrls": [ONE]}}, Delivered),
        ({"state": "fail", "failCode": "500", "failMsg": "nsfw"}, TaskFailed),
        ({"state": "fail", "successFlag": 0, "status": None}, TaskFailed),
        ({"state": "fail", "successFlag": 1, "response": {"resultUrls": [ONE]}}, Unreadable),
        ({"state": "success", "successFlag": 3, "response": {"resultUrls": [ONE]}}, Unreadable),
        ({"state": "generating", "successFlag": 3}, NoVerdict),
        ({"state": "fail", "status": "GENERATING"}, NoVerdict),
        ({"state": "paused"}, NoVerdict),
        ({"state": "done", "resultJson": {"resultUrls": [ONE]}}, Unreadable),
    ],
    ids=repr,
)
def test_the_markets_state_decides_like_the_flag(record: dict[str, Any], expected: type) -> None:
    assert type(read(**record)) is expected


def test_a_failure_of_the_market_carries_its_words() -> None:
    assert read(state="fail", failCode="500", failMsg=" upstream timed out ") == TaskFailed(
        "provider_failed", "upstream timed out"
    )
    assert read(state="fail", failCode="400", failMsg="nsfw") == TaskFailed(
        "content_policy", "nsfw"
    )


def test_a_record_without_status_and_images_is_undecided() -> None:
    assert isinstance(read(response={"resultUrls": []}, resultJson=""), NoVerdict)


@pytest.mark.parametrize("data", [None, [], {}, "", "nothing", 5, True, [{"successFlag": 1}]])
def test_a_200_without_a_record_decides_nothing(data: Any) -> None:
    assert isinstance(read_data(data), NoVerdict)


def test_a_record_that_comes_as_json_text_is_read() -> None:
    assert read_data('{"successFlag": 0, "progress": "0.30"}') == Pending(0.3)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        *[("0.48", 0.48), ("0.00", 0.0), ("1.00", 1.0), (" 0.5 ", 0.5), (0.25, 0.25), (1, 1.0)],
        *[("48", 1.0), (7, 1.0), (-1, 0.0), ("-0.1", 0.0), (10**400, 0.0), ("inf", 1.0)],
        *[(None, 0.0), ("", 0.0), ("half", 0.0), ("nan", 0.0), (True, 0.0), ([0.5], 0.0)],
    ],
    ids=lambda value: repr(value)[:20],
)
def test_progress_lies_between_0_and_1_whatever_is_sent(progress: Any, expected: float) -> None:
    assert read(successFlag=0, progress=progress) == Pending(expected)


def test_a_record_without_progress_is_at_its_beginning() -> None:
    assert read(status="GENERATING") == Pending(0.0)


@pytest.mark.parametrize("code", [200, 400, 451, 500, None, "400"])
def test_the_error_code_alone_never_decides(code: Any) -> None:
    assert isinstance(read(successFlag=0, errorCode=code, errorMessage="x"), Pending)
    done = read(successFlag=1, errorCode=code, response={"resultUrls": [ONE]})
    assert isinstance(done, Delivered)


@pytest.mark.parametrize(
    "words",
    [
        "Your content was flagged by OpenAI as violating content policies",
        "The image violates our policy",
        "blocked by MODERATION",
        "nsfw",
        "inappropriate content",
    ],
)
@pytest.mark.parametrize("code", [400, "400", None])
def test_a_refusal_for_what_is_shown_is_a_matter_of_policy(words: str, code: Any) -> None:
    outcome = read(successFlag=2, errorCode=code, errorMessage=words)
    assert outcome == TaskFailed("content_policy", words)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (400, "invalid_image_format"),
        (400, "Image size exceeds 26214400 bytes"),
        (400, "unexpected Content-Type of the image"),
        (500, "Failed to get user token"),
        (500, "the policy server is down"),
    ],
)
def test_another_failure_carries_kies_words(code: int, words: str) -> None:
    outcome = read(successFlag=3, errorCode=code, errorMessage=words, response=None)
    assert outcome == TaskFailed("provider_failed", words)


@pytest.mark.parametrize(
    ("code", "words", "expected"),
    [
        (451, "Failed to download the image", True),
        (451, "", True),
        (451, "no access", True),
        (400, "could not fetch image", True),
        (400, "Error while downloading https://example.com/a.png", True),
        (422, "Unable to retrieve the file", True),
        (400, "invalid_image_format", False),
        (400, "Image size exceeds 26214400 bytes", False),
        (400, "Failed to fetch, please try again later", False),
        (500, "Failed to fetch the user token", False),
        (None, "flagged: cannot access this content", False),
    ],
)
def test_an_image_that_kie_could_not_download_is_recognised(
    code: int | None, words: str, expected: bool
) -> None:
    outcome = read(successFlag=3, status="GENERATE_FAILED", errorCode=code, errorMessage=words)
    assert isinstance(outcome, TaskFailed)
    assert outcome.message.startswith(words or "Kie reports")
    assert outcome.image_not_fetched is expected


@pytest.mark.parametrize("words", [None, "", "  ", 5, {"a": 1}])
def test_a_failure_without_words_says_what_was_reported(words: Any) -> None:
    outcome = read(successFlag=3, status="GENERATE_FAILED", errorMessage=words)
    assert isinstance(outcome, TaskFailed)
    assert "successFlag 3, status GENERATE_FAILED" in outcome.message


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (1755572609000, datetime(2025, 8, 19, 3, 3, 29, tzinfo=UTC)),
        ("1755572609000", datetime(2025, 8, 19, 3, 3, 29, tzinfo=UTC)),
        ("2025-08-19T03:03:29Z", datetime(2025, 8, 19, 3, 3, 29, tzinfo=UTC)),
        ("2025-08-19 03:03:29", None),
        (None, None),
        ("", None),
        ("soon", None),
        (10**18, None),
        (10**400, None),
        ([1], None),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_the_completion_time_is_read_in_every_form_and_never_decides(
    given: Any, expected: datetime | None
) -> None:
    outcome = read(successFlag=1, response={"resultUrls": [ONE]}, completeTime=given)
    assert outcome == Delivered((ONE,), finished_at=expected)
