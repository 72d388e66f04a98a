"""A backend service orders from every model of the catalog by name."""

from __future__ import annotations

import pytest

from producer import InvalidRequest, Order, TextToImage, build_request
from shared.catalog import list_families

EXAMPLES = [
    (family.name, task, example)
    for family in list_families().values()
    for task, model in family.tasks.items()
    for example in model.model_json_schema()["examples"]
]


@pytest.mark.parametrize(("model", "task", "fields"), EXAMPLES)
def test_the_request_of_each_model_is_one_to_order(
    model: str, task: str, fields: dict[str, object]
) -> None:
    request = build_request(model, task, **fields)
    assert (request.model, request.task) == (model, task)
    assert Order(request=request, account_id="acme").request is request


def test_it_equals_the_request_that_the_class_of_the_default_model_makes() -> None:
    built = build_request(
        "gpt-4o-image", "text-to-image", prompt="a lighthouse", aspect_ratio="3:2"
    )
    assert built == TextToImage(prompt="a lighthouse", aspect_ratio="3:2")


@pytest.mark.parametrize(
    ("model", "task", "field"),
    [
        ("gpt-9", "text-to-image", "model"),
        ("gpt-image-2", "paint", "task"),
        ("gpt-image-2", "text-to-image", "resolution"),
    ],
)
def test_what_is_wrong_is_named(model: str, task: str, field: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        build_request(model, task, prompt="a lighthouse", resolution="8K")
    assert [fault.field for fault in refusal.value.faults] == [field]
