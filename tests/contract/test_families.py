"""What every model family in the catalog must keep to, found by being in the catalog."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import validator_for

from shared.catalog import ImageRequest, KieResponse, ModelFamily, get_family, list_families
from shared.domain.kie_outcomes import (
    AccountBlocked,
    Ambiguous,
    NoVerdict,
    Pending,
    TryLater,
    WrongEndpoint,
)
from shared.errors import InvalidRequest

FIXTURES = Path(__file__).parent.parent / "fixtures" / "kie"
CALLBACK = "https://here.example/callbacks/kie/token"

each_family = pytest.mark.parametrize("one", list_families().values(), ids=list_families())


def examples(one: ModelFamily) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (task, fields)
        for task, model in one.tasks.items()
        for fields in model.model_json_schema().get("examples", [])
    ]


def requests(one: ModelFamily) -> list[ImageRequest]:
    return [one.validate(task, fields) for task, fields in examples(one)]


each_market_request = pytest.mark.parametrize(
    ("one", "request_"),
    [
        pytest.param(one, request, id=f"{name}/{request.task}-{number}")
        for name, one in list_families().items()
        if one.kie_models
        for number, request in enumerate(requests(one))
    ],
)
each_answer = pytest.mark.parametrize(
    ("one", "path"),
    [
        pytest.param(one, path, id=f"{name}/{path.stem}")
        for name, one in list_families().items()
        for path in sorted((FIXTURES / name).glob("*.json"))
    ],
)


def answer(status: int, body: Any) -> KieResponse:
    return KieResponse(status, body, json.dumps(body))


@each_family
def test_a_family_is_found_by_its_own_name(one: ModelFamily) -> None:
    assert get_family(one.name) is one


@each_family
def test_each_task_has_a_request_model_that_knows_its_model_and_task(one: ModelFamily) -> None:
    assert one.tasks
    for task, model in one.tasks.items():
        assert (model.model, model.task) == (one.name, task)


@each_family
def test_each_field_says_what_it_takes(one: ModelFamily) -> None:
    for model in one.tasks.values():
        assert all(info.description for info in model.model_fields.values())


@each_family
def test_each_task_has_an_example_that_survives_storage(one: ModelFamily) -> None:
    assert {task for task, _ in examples(one)} == set(one.tasks)
    for request in requests(one):
        stored = json.loads(json.dumps(request.model_dump(mode="json")))
        assert one.validate(request.task, stored) == request


@each_family
def test_each_example_is_priced_by_a_key_of_its_family(one: ModelFamily) -> None:
    keys = {(each.task, each.price_quantity, each.price_variant) for each in requests(one)}
    assert keys <= one.price_keys
    assert {task for task, _, _ in one.price_keys} == set(one.tasks)


@each_family
def test_unknown_tasks_and_fields_are_refused_before_anything_is_built(one: ModelFamily) -> None:
    with pytest.raises(InvalidRequest):
        one.validate("no such task", {})
    for task, fields in examples(one):
        with pytest.raises(InvalidRequest) as refusal:
            one.validate(task, {**fields, "no_such_field": 1})
        assert [fault.field for fault in refusal.value.faults] == ["no_such_field"]


@each_family
def test_a_submit_is_one_post_of_json_that_names_the_callback_only_when_given(
    one: ModelFamily,
) -> None:
    for request in requests(one):
        built = one.build_submit(request, callback_url=CALLBACK)
        assert built.method == "POST"
        assert built.path.startswith("/api/v1/")
        assert CALLBACK in json.dumps(built.body)
        plain = one.build_submit(request, callback_url=None)
        assert "callback" not in json.dumps(plain.body).lower()


@each_market_request
def test_a_market_submit_has_one_of_the_models_of_its_family_and_a_valid_input(
    one: ModelFamily, request_: ImageRequest
) -> None:
    body = one.build_submit(request_, callback_url=None).body
    assert body is not None
    assert set(body) == {"model", "input"}
    [kie_model] = [known for known in one.kie_models if known.name == body["model"]]
    validator_for(dict(kie_model.input_schema)).validate(body["input"])
    # Kie ignores an unknown field and bills the default.
    assert set(body["input"]) <= set(kie_model.input_schema["properties"])


@each_market_request
def test_the_variant_of_a_request_is_the_one_that_kie_charges(
    one: ModelFamily, request_: ImageRequest
) -> None:
    body = one.build_submit(request_, callback_url=None).body
    assert body is not None
    [kie_model] = [known for known in one.kie_models if known.name == body["model"]]
    assert kie_model.credits_for(body["input"]) == kie_model.credits[request_.price_variant]


@each_family
def test_a_request_of_another_family_is_carried_or_refused_by_its_own_fields(
    one: ModelFamily,
) -> None:
    for name, carry in one.carries.items():
        carried: set[str] = set()
        for request in requests(get_family(name)):
            try:
                built = carry(request)
            except InvalidRequest as refused:
                assert {fault.field for fault in refused.faults} <= set(request.model_dump())  # noqa: PT017
                continue
            assert (built.model, built.task) == (one.name, request.task)
            carried.add(built.task)
        assert carried


@each_family
def test_a_poll_is_a_get_about_one_task(one: ModelFamily) -> None:
    built = one.build_poll("ab12")
    assert built.method == "GET"
    assert built.path.startswith("/api/v1/")
    assert "ab12" in (*built.query.values(), built.path.rpartition("/")[2])
    assert built.body is None


@each_family
def test_a_submit_answer_that_is_no_answer_is_ambiguous(one: ModelFamily) -> None:
    for status in (200, 500, 502):
        assert isinstance(one.read_submit(KieResponse(status, None, "")), Ambiguous)


@each_family
def test_a_submit_answer_of_another_endpoint_is_not_held_against_the_job(one: ModelFamily) -> None:
    for status in (302, 404, 405):
        assert isinstance(one.read_submit(KieResponse(status, None, "")), WrongEndpoint)


@each_family
def test_a_poll_answer_that_is_no_answer_decides_nothing(one: ModelFamily) -> None:
    for status in (200, 302, 404, 500, 502):
        assert isinstance(one.read_poll(KieResponse(status, None, "")), NoVerdict)


@each_family
@pytest.mark.parametrize("status", [200, 429])
def test_a_rate_limit_creates_nothing_and_slows_the_polls(one: ModelFamily, status: int) -> None:
    limited = answer(status, {"code": 429, "msg": "slow down", "data": None})
    assert isinstance(one.read_submit(limited), TryLater)
    outcome = one.read_poll(limited)
    assert isinstance(outcome, NoVerdict)
    assert outcome.slow_down


@each_family
@pytest.mark.parametrize("code", [401, 402])
def test_an_account_at_fault_blocks_submits_and_fails_no_task(one: ModelFamily, code: int) -> None:
    refused = answer(200, {"code": code, "msg": "no", "data": None})
    assert isinstance(one.read_submit(refused), AccountBlocked)
    outcome = one.read_poll(refused)
    assert isinstance(outcome, NoVerdict)
    assert outcome.account_blocked


@each_family
def test_a_family_comes_with_answers_of_both_calls(one: ModelFamily) -> None:
    stored = [json.loads(path.read_text()) for path in (FIXTURES / one.name).glob("*.json")]
    assert {answered["call"] for answered in stored} == {"submit", "poll"}
    sources = {answered["source"] for answered in stored}
    assert sources <= {"recorded", "documented", "reported", "constructed"}


@each_answer
def test_a_stored_answer_gets_its_outcome(one: ModelFamily, path: Path) -> None:
    stored = json.loads(path.read_text())
    body = stored.get("body")
    text = stored.get("text", json.dumps(body))
    given = KieResponse(stored["http"], body, text)
    read = one.read_submit if stored["call"] == "submit" else one.read_poll
    outcome = read(given)
    assert type(outcome).__name__ == stored["outcome"]
    found = json.loads(json.dumps(dataclasses.asdict(outcome), default=str))
    expected = stored.get("expect", {})
    assert {name: found[name] for name in expected} == expected
    if isinstance(outcome, Pending):
        assert 0 <= outcome.progress <= 1
