"""Whatever comes in, the family neither crashes nor believes in images that are not there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.catalog import ImageRequest, KieResponse
from shared.catalog.families.gpt4o_image import FAMILY
from shared.domain.kie_outcomes import (
    Accepted,
    AccountBlocked,
    Ambiguous,
    Delivered,
    NoVerdict,
    Pending,
    Refused,
    TaskFailed,
    TryLater,
    Unreadable,
    WrongEndpoint,
)
from shared.errors import Fault, InvalidRequest

without_deadline = settings(deadline=None, max_examples=150)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([200, 400, 429, 500, "SUCCESS", "GENERATE_FAILED", "https://x.example/a.png"]),
)
KNOWN = ["code", "msg", "data", "taskId", "successFlag", "status", "response", "resultUrls"]
KNOWN += ["result_urls", "errorCode", "errorMessage", "progress", "completeTime"]
names = st.sampled_from(KNOWN) | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=12,
)
records = st.fixed_dictionaries(
    {},
    optional={
        "successFlag": st.sampled_from([0, 1, 2, 3, "1", None, True]) | anything,
        "status": st.sampled_from(["GENERATING", "SUCCESS", "GENERATE_FAILED"]) | anything,
        "state": st.sampled_from(["waiting", "generating", "success", "fail"]) | anything,
        "resultJson": st.just('{"resultUrls":["https://x.example/b.png"]}') | anything,
        "creditsConsumed": st.sampled_from([6.0, "6", -1, 10**9]) | anything,
        "response": st.fixed_dictionaries({}, optional={"resultUrls": anything}) | anything,
        "progress": anything,
        "errorCode": anything,
        "errorMessage": anything,
        "completeTime": anything,
    },
)
statuses = st.sampled_from([200, 201, 302, 400, 401, 422, 429, 455, 500, 503, 550]) | st.integers(
    100, 599
)
bodies = anything | st.fixed_dictionaries(
    {"code": st.sampled_from([200, 408, 429, 500, "200"]) | anything, "data": records | anything}
)
answers = st.builds(KieResponse, statuses, bodies, st.text(max_size=30))


def holds(value: Any, needle: str) -> bool:
    return needle in json.dumps(value, ensure_ascii=False, default=str)


@without_deadline
@given(answers)
def test_any_answer_to_a_submit_gets_an_outcome(answer: KieResponse) -> None:
    outcome = FAMILY.read_submit(answer)
    assert isinstance(
        outcome, Accepted | TryLater | AccountBlocked | Refused | WrongEndpoint | Ambiguous
    )
    if isinstance(outcome, Accepted):
        assert 200 <= answer.status < 300
        assert outcome.task_id.strip() == outcome.task_id != ""
        given_id = answer.body["data"].get("taskId") or answer.body["data"].get("task_id")
        assert given_id.strip() == outcome.task_id
    if answer.status >= 500 and answer.status not in (505, 511, 550):
        assert isinstance(outcome, Ambiguous)


@without_deadline
@given(answers)
def test_any_answer_to_a_poll_gets_an_outcome(answer: KieResponse) -> None:
    outcome = FAMILY.read_poll(answer)
    assert isinstance(outcome, Pending | Delivered | TaskFailed | Unreadable | NoVerdict)
    if isinstance(outcome, Delivered):
        assert 200 <= answer.status < 300
        assert outcome.result_urls
        assert all(url.startswith("http") for url in outcome.result_urls)
        assert outcome.consumed_credits is None or 0 <= outcome.consumed_credits <= 1_000_000
    if isinstance(outcome, Pending):
        assert 0 <= outcome.progress <= 1
    if isinstance(outcome, Delivered | Pending):
        assert answer.body["code"] in (200, "200")


@without_deadline
@given(records)
def test_a_record_without_any_url_is_never_delivered(record: dict[str, Any]) -> None:
    outcome = FAMILY.read_poll(KieResponse(200, {"code": 200, "data": record}, ""))
    if isinstance(outcome, Delivered):
        assert holds(record, "http")


def attempt(task: str, fields: dict[str, Any]) -> tuple[ImageRequest | None, list[Fault]]:
    try:
        return FAMILY.validate(task, fields), []
    except InvalidRequest as refusal:
        return None, list(refusal.faults)


field_names = st.sampled_from(
    [
        *("prompt", "image_urls", "mask_url", "aspect_ratio", "quantity", "enhance_prompt"),
        *("fallback_model", "upload_cn", "style", "self", "model_config"),
    ]
) | st.text(max_size=10)
likely = st.sampled_from(["1:1", "3:2", 1, 2, True, "FLUX_MAX", ["https://example.com/a.png"]])


@without_deadline
@given(
    st.sampled_from(["text-to-image", "image-to-image"]),
    st.dictionaries(field_names, likely | anything, max_size=8),
)
def test_any_fields_are_a_request_or_an_invalid_request(task: str, fields: dict[str, Any]) -> None:
    request, faults = attempt(task, fields)
    assert all(fault.field and fault.message for fault in faults)
    assert (request is None) == bool(faults)
    if request is None:
        return
    stored = json.loads(json.dumps(request.model_dump(mode="json")))
    assert FAMILY.validate(task, stored) == request
    built = FAMILY.build_submit(request, callback_url=None).body
    assert built is not None
    assert built.get("nVariants", 1) in (1, 2, 4)
    assert json.dumps(built, ensure_ascii=False).encode()


@without_deadline
@given(st.text(max_size=60) | st.from_regex(r"https?://[^/]{1,30}/.{0,20}"))
def test_any_text_is_a_public_url_or_a_fault_of_its_own(text: str) -> None:
    fields = {"image_urls": [text], "aspect_ratio": "1:1"}
    _, faults = attempt("image-to-image", fields)
    assert {fault.field for fault in faults} <= {"image_urls.0"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1}, b"x", -1])
def test_values_that_json_does_not_know_are_refused(value: object) -> None:
    names = ("prompt", "aspect_ratio", "quantity", "enhance_prompt", "fallback_model", "zzz")
    with pytest.raises(InvalidRequest) as refusal:
        FAMILY.validate("text-to-image", dict.fromkeys(names, value))
    assert {fault.field for fault in refusal.value.faults} == set(names)
