"""Our rules about a request to the Market are those that Kie documents, no more and no fewer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import validator_for

from shared.catalog import ImageRequest, ModelFamily, list_families
from shared.catalog.market_family import MarketRequest
from shared.catalog.model_family import KieModel
from shared.errors import InvalidRequest

TASKS = [
    (family, task)
    for family in list_families().values()
    if family.kie_models
    for task in family.tasks
]
each_task = pytest.mark.parametrize(
    ("family", "task"), TASKS, ids=[f"{family.name}/{task}" for family, task in TASKS]
)
without_deadline = settings(deadline=None, max_examples=100)
anything: st.SearchStrategy[object] = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 8), st.text(max_size=5), st.just(["1K"]), st.just({})
)


def example_of(family: ModelFamily, task: str) -> dict[str, Any]:
    example: dict[str, Any] = family.tasks[task].model_json_schema()["examples"][0]
    return example


def kie_model_of(family: ModelFamily, name: str) -> KieModel:
    [found] = [one for one in family.kie_models if one.name == name]
    return found


def is_taken_by_kie(family: ModelFamily, request: MarketRequest) -> bool:
    schema = dict(kie_model_of(family, request.kie_model).input_schema)
    return bool(validator_for(schema).is_valid(request.kie_input()))


def choices_of(rule: Mapping[str, Any]) -> list[object]:
    """Return the values of a field that takes one of a few."""
    rules = [rule, *rule.get("anyOf", [])]
    found = [value for one in rules for value in one.get("enum", [])]
    if rule.get("type") == "boolean":
        found += [True, False]
    if rule.get("type") == "integer" and {"minimum", "maximum"} <= rule.keys():
        found += range(rule["minimum"], rule["maximum"] + 1)
    return [*found, None] if {"type": "null"} in rules else found


def every_choice(model: type[ImageRequest]) -> Iterator[dict[str, object]]:
    """Yield each combination of the fields that take one of a few values, present or not."""
    properties = model.model_json_schema()["properties"]
    choices = {name: choices_of(rule) for name, rule in properties.items()}
    fields = {name: values for name, values in choices.items() if values}
    absent = object()
    for values in product(*([absent, *values] for values in fields.values())):
        given = zip(fields, values, strict=True)
        yield {name: value for name, value in given if value is not absent}


@each_task
def test_kie_takes_each_request_that_we_take_and_no_other(family: ModelFamily, task: str) -> None:
    model = family.tasks[task]
    fixed = {name: example_of(family, task).get(name) for name in ("prompt", "image_urls")}
    required = {name for name, info in model.model_fields.items() if info.is_required()}
    taken = refused = 0
    for choices in every_choice(model):
        fields: dict[str, Any] = {**fixed, **choices}
        fields = {name: value for name, value in fields.items() if value is not None}
        if not required <= fields.keys():
            continue
        request = cast("MarketRequest", model.model_construct(**fields))
        try:
            family.validate(task, fields)
        except InvalidRequest:
            assert not is_taken_by_kie(family, request), fields
            refused += 1
        else:
            assert is_taken_by_kie(family, request), fields
            taken += 1
    assert taken
    # A model with rules between its fields is asked for what breaks them as well.
    schema = kie_model_of(family, request.kie_model).input_schema
    assert bool(refused) == bool({"allOf", "if"} & schema.keys())


@each_task
def test_the_openapi_document_takes_what_we_take(family: ModelFamily, task: str) -> None:
    model = family.tasks[task]
    document = validator_for(model.model_json_schema())
    example = example_of(family, task)
    for choices in every_choice(model):
        fields = {**example, **choices}
        try:
            family.validate(task, fields)
        except InvalidRequest:
            assert not document.is_valid(fields), fields
        else:
            assert document.is_valid(fields), fields


@pytest.mark.parametrize(
    "family", {family.name: family for family, _ in TASKS}.values(), ids=lambda one: one.name
)
def test_each_model_of_kie_is_reached_and_each_variant_is_priced(family: ModelFamily) -> None:
    reached: dict[str, set[str]] = {}
    for task, model in family.tasks.items():
        example = example_of(family, task)
        for choices in every_choice(model):
            fields = {**example, **choices}
            try:
                request = family.validate(task, fields)
            except InvalidRequest:
                continue
            body = family.build_submit(request, callback_url=None).body
            assert body is not None
            kie_model = kie_model_of(family, body["model"])
            reached.setdefault(kie_model.name, set()).add(request.price_variant)
            assert kie_model.credits_for(body["input"]) == kie_model.credits[request.price_variant]
    assert reached == {one.name: set(one.credits) for one in family.kie_models}


@without_deadline
@given(data=st.data())
def test_any_fields_are_a_valid_input_or_an_invalid_request(data: st.DataObject) -> None:
    family, task = data.draw(st.sampled_from(TASKS))
    model = family.tasks[task]
    names = st.sampled_from([*model.model_fields, *model.unsupported_fields, "zzz"])
    changed = data.draw(st.dictionaries(names, anything, max_size=4))
    fields = {**example_of(family, task), **changed}
    try:
        request = family.validate(task, fields)
    except InvalidRequest as refusal:
        faults = refusal.faults
        request = None
    if request is None:
        assert all(fault.field and fault.message for fault in faults)
        named = {fault.field.partition(".")[0] for fault in faults}
        assert named <= fields.keys() | model.model_fields.keys()
        return
    assert isinstance(request, MarketRequest)
    assert is_taken_by_kie(family, request)
    stored = request.model_dump(mode="json")
    assert family.validate(task, stored) == request
