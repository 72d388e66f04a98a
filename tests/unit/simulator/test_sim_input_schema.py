"""The simulator's check of `input` agrees with an implementation of JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema_rs import validator_for

from shared.catalog import list_families
from shared.catalog.model_family import KieModel
from worker.simulator.input_schema import check_input, is_valid

MODELS = {one.name: one for family in list_families().values() for one in family.kie_models}
WRONG: tuple[object, ...] = ("", " ", "?", 7, -1, 1.5, True, None, [], ["u"], ["u"] * 17, {}, "1:1")


def is_url(schema: Mapping[str, Any]) -> bool:
    return schema.get("format") == "uri"


def tries(model: KieModel) -> Iterator[dict[str, Any]]:
    """Each value of each field beside each value of each other one, valid or not."""
    properties = model.input_schema["properties"]
    plain = {"prompt": "x", "input_urls": ["u"], "quality": "high", "size": "1:1"}
    plain = {name: value for name, value in plain.items() if name in properties}
    yield {}
    yield plain
    for name, schema in properties.items():
        yield {key: value for key, value in plain.items() if key != name}
        for value in (*WRONG, *schema.get("enum", ())):
            one = {**plain, name: value}
            yield one
            for other, its_schema in properties.items():
                for its_value in its_schema.get("enum", ()):
                    yield {**one, other: its_value}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_each_model_takes_and_refuses_what_its_schema_says(model: KieModel) -> None:
    validator = validator_for({**model.input_schema})
    properties = model.input_schema["properties"]
    judged = {True: 0, False: 0}
    for task_input in tries(model):
        valid = validator.is_valid(task_input)
        # A blank URL is a URL to JSON Schema, which checks no formats.
        urls = [task_input.get(name, "u") for name in properties if is_url(properties[name])]
        if all(str(url).strip() for url in urls):
            assert is_valid(model.input_schema, task_input) == valid, task_input
            judged[valid] += 1
    assert min(judged.values()) > 5


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        ({"type": "number", "minimum": 0, "maximum": 6}, 6, True),
        ({"type": "number", "minimum": 0, "maximum": 6}, 6.5, False),
        ({"type": "integer", "minimum": 0}, -1, False),
        ({"type": "boolean"}, 1, False),
        ({"type": "array", "minItems": 1}, [], False),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, 3, False),
        ({"const": "x"}, "x", True),
        ({"if": {"const": 1}, "then": {"const": 2}, "else": {"const": 3}}, 3, True),
        ({"if": {"const": 1}, "then": {"const": 2}}, 1, False),
    ],
)
def test_the_rules_that_models_may_have_are_known(
    schema: dict[str, Any], value: object, valid: bool
) -> None:
    assert is_valid(schema, value) == validator_for(schema).is_valid(value) == valid


def test_a_rule_that_is_not_known_is_an_error_and_accepts_nothing() -> None:
    with pytest.raises(ValueError, match="unknown keyword 'multipleOf'"):
        check_input({"multipleOf": 2}, 3)
