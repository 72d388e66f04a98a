"""Answers that speak of the endpoint, of the request, or of neither for certain."""

from __future__ import annotations

from typing import Any

import pytest

from shared.catalog import KieResponse
from shared.catalog.families.gpt4o_image import FAMILY
from shared.domain.kie_outcomes import (
    AccountBlocked,
    Ambiguous,
    NoVerdict,
    Refused,
    TryLater,
    WrongEndpoint,
)

SPRING = {
    "timestamp": "2026-03-27T19:30:00.000+00:00",
    "status": 404,
    "error": "Not Found",
    "message": "No message available",
    "path": "/api/v1/gpt4o-image/generate",
}
PAGE = "<!DOCTYPE html><html><body>Sign in to the network</body></html>"


def enveloped(code: int, msg: str, data: Any = None) -> dict[str, Any]:
    return {"code": code, "msg": msg, "data": data}


CERTAIN: list[tuple[int, Any, str]] = [
    (404, SPRING, ""),
    (405, {**SPRING, "status": 405, "error": "Method Not Allowed"}, ""),
    (404, None, "404 page not found"),
    (404, None, PAGE),
    (404, {"detail": "Not Found"}, ""),
    (405, None, ""),
    (410, None, "Gone"),
    (407, None, "Proxy Authentication Required"),
    (421, None, "Misdirected Request"),
    (511, None, PAGE),
    (400, None, "<center>The plain HTTP request was sent to HTTPS port</center>"),
    (451, None, PAGE),
    (301, None, ""),
    (302, None, PAGE),
    (307, None, ""),
    (308, None, ""),
    (200, enveloped(404, "No message available"), ""),
    (200, enveloped(404, "No static resource api/v1/gpt4o-image/generate."), ""),
    (200, enveloped(404, "This endpoint does not exist"), ""),
    (200, enveloped(405, "Request method 'POST' is not supported"), ""),
    (200, enveloped(410, "This API has been retired"), ""),
]
UNCERTAIN: list[tuple[int, Any, str]] = [
    (200, None, PAGE),
    (200, None, "\n <html><head><title>Login</title></head></html>"),
    (201, None, "<?xml version='1.0'?><error/>"),
    (303, None, ""),
    (300, None, ""),
    (200, {"ok": True}, ""),
    (200, {"detail": "welcome"}, ""),
    (200, [], "[]"),
    (200, "ok", '"ok"'),
]


@pytest.mark.parametrize(("status", "body", "text"), CERTAIN)
def test_an_answer_of_another_endpoint_creates_nothing_and_is_not_held_against_the_job(
    status: int, body: Any, text: str
) -> None:
    outcome = FAMILY.read_submit(KieResponse(status, body, text))
    assert isinstance(outcome, WrongEndpoint)
    assert "the endpoint is wrong" in outcome.message


@pytest.mark.parametrize(("status", "body", "text"), UNCERTAIN)
def test_a_success_that_is_not_kies_may_have_reached_kie_and_names_the_endpoint(
    status: int, body: Any, text: str
) -> None:
    outcome = FAMILY.read_submit(KieResponse(status, body, text))
    assert isinstance(outcome, Ambiguous)
    assert outcome.wrong_endpoint


@pytest.mark.parametrize(("status", "body", "text"), CERTAIN + UNCERTAIN)
def test_for_a_poll_none_of_these_codes_decides_about_the_task(
    status: int, body: Any, text: str
) -> None:
    outcome = FAMILY.read_poll(KieResponse(status, body, text))
    assert isinstance(outcome, NoVerdict)
    assert outcome.wrong_endpoint
    assert not outcome.has_record


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (200, None, ""),
        (200, None, '{"code":200,"msg":"succ'),
        (200, None, "upstream connect error"),
        (200, {}, "{}"),
        (200, {"code": "ok", "data": {}}, ""),
        (200, {"data": None}, ""),
        (500, None, PAGE),
        (502, None, "<html>502 Bad Gateway</html>"),
        (520, None, ""),
        (200, enveloped(404, "No message available", {"taskId": "ab12"}), ""),
        (404, {**SPRING, "data": {"taskId": "ab12"}}, ""),
        (500, enveloped(404, "No message available"), ""),
        (302, enveloped(200, "success", {"taskId": "ab12"}), ""),
    ],
)
def test_what_may_be_kies_own_answer_cut_short_is_ambiguous_and_no_more(
    status: int, body: Any, text: str
) -> None:
    outcome = FAMILY.read_submit(KieResponse(status, body, text))
    assert isinstance(outcome, Ambiguous)
    assert not outcome.wrong_endpoint


@pytest.mark.parametrize(
    ("status", "body", "text", "expected"),
    [
        (200, enveloped(404, "The image was not found"), "", Refused),
        (200, enveloped(404, "Not Found"), "", Refused),
        (404, enveloped(404, "Not Found"), "", Refused),
        (200, enveloped(404, ""), "", Refused),
        (
            200,
            enveloped(404, "Not Found - The requested resource or endpoint does not exist"),
            "",
            Refused,
        ),
        (200, enveloped(422, "Validation error"), "", Refused),
        (200, enveloped(505, "This feature is currently disabled"), "", Refused),
        (403, None, "error code: 1010", AccountBlocked),
        (401, {"detail": "no key"}, "", AccountBlocked),
        (429, None, PAGE, TryLater),
        (455, None, PAGE, TryLater),
    ],
)
def test_what_speaks_of_the_request_or_the_account_stays_so(
    status: int, body: Any, text: str, expected: type
) -> None:
    assert type(FAMILY.read_submit(KieResponse(status, body, text))) is expected


def test_an_unknown_task_is_no_wrong_endpoint() -> None:
    for code, msg in ((422, "The record does not exist"), (404, "The record does not exist")):
        outcome = FAMILY.read_poll(KieResponse(200, enveloped(code, msg), ""))
        assert isinstance(outcome, NoVerdict)
        assert not outcome.wrong_endpoint


@pytest.mark.parametrize(
    "words",
    [
        "This field is required",
        "text is required",
        "mode is not within the range of allowed options",
        "size cannot be empty",
        "filesUrl must not be null.",
        "size\u4e0d\u80fd\u4e3a\u7a7a",
    ],
)
def test_a_fault_of_the_request_that_kie_sends_as_500_is_a_refusal(words: str) -> None:
    outcome = FAMILY.read_submit(KieResponse(200, enveloped(500, words), ""))
    assert isinstance(outcome, Refused)
    assert outcome.code == 500


@pytest.mark.parametrize(
    ("status", "words", "data"),
    [
        (200, "Server exception, please try again later", None),
        (200, "Server exception, please try again later or contact customer service", None),
        (200, "Internal error: a retry is required later", None),
        (200, "login is required", None),
        (200, "payment is required", None),
        (200, "", None),
        (200, "timeout", None),
        (500, "This field is required", None),
        (200, "This field is required", {"taskId": "ab12"}),
    ],
)
def test_any_other_500_may_have_made_a_task(status: int, words: str, data: Any) -> None:
    outcome = FAMILY.read_submit(KieResponse(status, enveloped(500, words, data), ""))
    assert isinstance(outcome, Ambiguous)
