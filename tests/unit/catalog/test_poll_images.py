"""Where the images of a success are found, and when they are not certain enough to be charged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.catalog import KieResponse
from shared.catalog.families.gpt4o_image import FAMILY
from shared.domain.kie_outcomes import Delivered, PollOutcome, Unreadable

ONE = "https://tempfile.aiquickdraw.com/s/one.png"
TWO = "https://tempfile.aiquickdraw.com/s/two.png"
COMMAS = "https://images.example/w=100,h=100/one.png"


def read(**data: Any) -> PollOutcome:
    body = {"code": 200, "msg": "success", "data": {"taskId": "ab12", **data}}
    return FAMILY.read_poll(KieResponse(200, body, ""))


def read_success(record: dict[str, Any]) -> PollOutcome:
    return read(successFlag=1, status="SUCCESS", **record)


@pytest.mark.parametrize(
    "record",
    [
        {"response": {"resultUrls": [ONE, TWO]}},
        {"response": {"result_urls": [ONE, TWO]}},
        {"response": {"resultUrls": [], "result_urls": [ONE, TWO]}},
        {"response": {"resultUrls": None, "result_urls": [ONE, TWO]}},
        {"response": {"resultUrls": [ONE, TWO], "result_urls": [TWO, ONE]}},
        {"response": json.dumps({"resultUrls": [ONE, TWO]})},
        {"response": json.dumps({"result_urls": [ONE, TWO]})},
        {"response": {"resultUrls": json.dumps([ONE, TWO])}},
        {"response": [ONE, TWO]},
        {"response": json.dumps([ONE, TWO])},
        {"response": {"resultUrls": [f" {ONE} ", TWO, ONE]}},
        {"response": {"resultUrls": f"{ONE},{TWO}"}},
        {"response": {"resultUrls": f"{ONE}, {TWO}"}},
        {"resultUrls": [ONE, TWO]},
        {"resultUrls": f"{ONE},{TWO}"},
        {"result_urls": [ONE, TWO], "response": None},
        {"resultJson": json.dumps({"resultUrls": [ONE, TWO]})},
        {"resultJson": {"resultUrls": [ONE, TWO]}},
        {
            "resultJson": json.dumps({"resultUrls": [ONE, TWO]}),
            "response": {"resultUrls": [ONE, TWO]},
        },
        {"resultInfoJson": {"resultUrls": [{"resultUrl": ONE}, {"resultUrl": TWO}]}},
        {"info": {"result_urls": [ONE, TWO]}},
    ],
    ids=lambda record: json.dumps(record)[:90],
)
def test_both_images_are_found_wherever_a_page_of_kies_puts_them(record: dict[str, Any]) -> None:
    outcome = read_success(record)
    assert isinstance(outcome, Delivered)
    assert set(outcome.result_urls) == {ONE, TWO}
    assert len(outcome.result_urls) == 2


@pytest.mark.parametrize(
    "record",
    [
        {"response": {"resultUrls": ONE}},
        {"response": ONE},
        {"response": [ONE]},
        {"response": json.dumps(ONE)},
        {"response": {"originImageUrl": TWO, "resultImageUrl": ONE}},
        {"response": {"resultUrls": [ONE, ONE]}},
        {"response": {"resultUrls": f"{ONE},{ONE}"}},
        {"resultUrls": [ONE], "resultJson": json.dumps({"resultUrls": [ONE, ONE]})},
    ],
    ids=lambda record: json.dumps(record)[:90],
)
def test_one_image_is_one_however_often_it_is_named(record: dict[str, Any]) -> None:
    assert read_success(record) == Delivered((ONE,))


def test_a_comma_inside_one_url_of_a_list_belongs_to_it() -> None:
    assert read_success({"response": {"resultUrls": [COMMAS]}}) == Delivered((COMMAS,))


UNREADABLE: list[dict[str, Any]] = [
    # no image at all
    {},
    {"response": None},
    {"response": "null"},
    {"response": {}},
    {"response": {"resultUrls": []}},
    {"response": {"urls": [ONE]}},
    {"response": {"images": [{"url": ONE}]}},
    # a good one beside a broken one
    {"response": {"resultUrls": [ONE, None]}},
    {"response": {"resultUrls": [ONE, ""]}},
    {"response": {"resultUrls": [ONE, 7]}},
    {"response": {"resultUrls": [ONE, "/relative.png"]}},
    {"response": {"resultUrls": [ONE, "ftp://x/y"]}},
    {"response": {"resultUrls": [ONE, "https://"]}},
    {"response": {"resultUrls": [ONE, {"url": TWO}]}},
    # one text that may be several
    {"response": {"resultUrls": COMMAS}},
    {"response": {"resultUrls": f"{ONE},two.png"}},
    {"response": {"resultUrls": f"{ONE},"}},
    {"response": {"resultUrls": [f"{ONE},{TWO}"]}},
    {"response": {"resultUrls": f"{ONE};{TWO}"}},
    {"response": {"resultUrls": f"{ONE} {TWO}"}},
    {"response": {"resultUrls": f"{ONE}|{TWO}"}},
    {"response": {"resultUrls": f"{ONE}{TWO}"}},
    {"response": {"resultUrls": f"['{ONE}', '{TWO}']"}},
    {"response": {"resultUrls": f"https://proxy.example/?u={ONE},{TWO}"}},
    # neither a list nor a URL
    {"response": 5},
    {"response": True},
    {"response": "{"},
    {"response": [[ONE]]},
    {"response": {"resultUrls": {"0": ONE}}},
    {"response": {"resultUrls": True}},
    {"response": {"resultUrls": ["https://exa mple.com/"]}},
    {"response": {"resultUrls": ["http://["]}},
    {"response": {"resultUrls": ["https://a\n.b"]}},
    {"response": "https://" + "a" * 5_000},
    {"resultJson": "no JSON"},
    # two fields that differ
    {"response": {"resultUrls": [ONE]}, "resultUrls": [TWO]},
    {"response": {"resultUrls": [ONE], "result_urls": [ONE, TWO]}},
    {"response": {"resultUrls": [ONE]}, "resultJson": json.dumps({"resultUrls": [TWO]})},
]


@pytest.mark.parametrize("record", UNREADABLE, ids=lambda record: json.dumps(record)[:90])
def test_a_success_whose_images_are_not_certain_is_unreadable(record: dict[str, Any]) -> None:
    outcome = read_success(record)
    assert isinstance(outcome, Unreadable)
    assert "Kie reports success (successFlag 1, status SUCCESS), but" in outcome.message
    assert json.loads(outcome.answer)["successFlag"] == 1


def test_the_answer_shows_result_urls_and_hides_prompts_keys_and_callback_urls() -> None:
    secret = "a-secret-word"
    outcome = read_success(
        {
            "paramJson": json.dumps({"prompt": secret, "callBackUrl": f"https://h/{secret}"}),
            "param": {"input": {"prompt": secret}},
            "response": {
                "resultUrls": [ONE, None],
                "note": f"for {secret}",
                "revised_prompt": secret,
                "echo": json.dumps({"prompt": secret, "apiKey": secret}),
            },
            "callBackUrl": f"https://here.example/callbacks/kie/{secret}",
            "elsewhere": f"https://here.example/callbacks/kie/{secret}",
            "filesUrl": [f"https://input.example/{secret}.png"],
            "errorMessage": "",
        }
    )
    assert isinstance(outcome, Unreadable)
    assert secret not in outcome.answer
    assert ONE in outcome.answer


def test_an_answer_of_any_size_is_shown_shortened() -> None:
    outcome = read_success({"response": {"resultUrls": [ONE * 100] * 100, "x": [[[[[[[[1]]]]]]]]}})
    assert isinstance(outcome, Unreadable)
    assert len(outcome.answer) <= 4_000


urls = st.sampled_from([ONE, TWO, COMMAS])
junk = st.one_of(
    st.none(),
    st.integers(),
    st.booleans(),
    st.text(max_size=12),
    st.sampled_from([f"{ONE};{TWO}", "ftp://x/y", "https://", f"{ONE} ", "//x/y.png"]),
)
lists = st.lists(urls | junk, min_size=1, max_size=5)


@settings(max_examples=300)
@given(lists, st.sampled_from(["resultUrls", "result_urls"]), st.booleans())
def test_a_list_is_delivered_whole_or_not_at_all(
    entries: list[Any], name: str, as_text: bool
) -> None:
    outcome = read_success({"response": {name: json.dumps(entries) if as_text else entries}})
    clean = [one.strip() if isinstance(one, str) else one for one in entries]
    if all(one in (ONE, TWO, COMMAS) for one in clean):
        assert outcome == Delivered(tuple(dict.fromkeys(clean)))
    else:
        assert isinstance(outcome, Unreadable)


@settings(max_examples=300)
@given(st.lists(lists, min_size=2, max_size=3))
def test_fields_that_differ_are_never_delivered(given_lists: list[list[Any]]) -> None:
    first, second, *rest = given_lists
    record = {"resultUrls": first, "response": {"resultUrls": second}}
    if rest:
        record["resultJson"] = {"resultUrls": rest[0]}
    outcome = read_success(record)
    if isinstance(outcome, Delivered):
        for entries in given_lists:
            assert {one.strip() for one in entries} == set(outcome.result_urls)
