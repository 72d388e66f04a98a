"""`darkroom enqueue` takes the fields of every model of the catalog, and names none."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from producer.cli.commands.enqueue import build_order
from producer.cli.request.request_options import check_fields, list_models, list_other_fields
from shared.catalog import list_families
from shared.errors import InvalidRequest

CAT = "https://example.com/cat.png"
TASKS = [(family.name, task) for family in list_families().values() for task in family.tasks]


def options(**given: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(
        ("prompt", "aspect_ratio", "quantity", "image_urls", "mask_url", "fallback_model")
    )
    return {**nothing, "prompt": "a lighthouse", **given}


def build(model: str, fields: list[str], **given: Any) -> dict[str, Any]:
    order = build_order(model, options(**given), fields, {"account_id": "acme"})
    return {"task": order.request.task, **order.request.model_dump(mode="json")}


def example_fields(model: str, task: str) -> list[str]:
    """Return `--field` values for what the model requires and no option gives."""
    request = list_families()[model].tasks[task]
    given = {"prompt", "aspect_ratio", "image_urls"}
    needed = [
        name
        for name, info in request.model_fields.items()
        if info.is_required() and name not in given
    ]
    example = request.model_json_schema()["examples"][0]
    return [f"{name}={example[name]}" for name in needed]


@pytest.mark.parametrize(("model", "task"), TASKS)
def test_every_task_of_every_model_is_ordered_with_the_same_options(model: str, task: str) -> None:
    images = [CAT] if task == "image-to-image" else None
    built = build(model, example_fields(model, task), image_urls=images)
    assert (built["task"], built["prompt"]) == (task, "a lighthouse")


def test_a_field_is_json_or_else_text() -> None:
    built = build("gpt-image-2", ["resolution=2K"], aspect_ratio="16:9")
    assert (built["resolution"], built["aspect_ratio"]) == ("2K", "16:9")
    assert build("gpt-4o-image", ["upload_cn=true"])["upload_cn"] is True
    with pytest.raises(InvalidRequest, match="upload_cn: is 'yes'; allowed: true and false"):
        build("gpt-4o-image", ["upload_cn=yes"])


def test_the_aspect_ratio_is_a_square_only_where_the_model_requires_one() -> None:
    assert build("gpt-4o-image", [])["aspect_ratio"] == "1:1"
    assert build("gpt-image-2", [])["aspect_ratio"] == "auto"


def test_a_field_of_another_model_is_refused_with_its_sentence() -> None:
    with pytest.raises(InvalidRequest, match="4o image API has no quality option"):
        build("gpt-4o-image", ["quality=high"])
    with pytest.raises(InvalidRequest, match="the model 4o-image-api has no mask"):
        build("4o-image-api", [], mask_url=CAT, image_urls=[CAT])


def test_all_faults_of_the_request_and_of_the_order_come_at_once() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        build_order("gpt-image-2", options(quantity=2), ["resolution=8K"], {"account_id": "a b"})
    assert [fault.field for fault in refusal.value.faults] == [
        "quantity",
        "resolution",
        "account_id",
    ]


def test_a_webhook_that_is_not_allowed_is_a_fault_among_the_others() -> None:
    order = {"account_id": "acme", "webhook_url": "http://10.0.0.1/"}
    with pytest.raises(InvalidRequest) as refusal:
        build_order("gpt-4o-image", options(prompt=""), [], order, lambda url: f"not to {url}")
    assert [fault.field for fault in refusal.value.faults] == ["prompt", "webhook_url"]
    assert refusal.value.faults[1].message == "not to http://10.0.0.1/"


def test_an_unknown_model_is_refused_beside_the_faults_of_the_order() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        build_order("gpt-9", options(), [], {"account_id": "a b"})
    assert [fault.field for fault in refusal.value.faults] == ["model", "account_id"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["resolution"], "'resolution' is not NAME=VALUE"),
        (["=2K"], "'=2K' is not NAME=VALUE"),
        (["quantity=2"], "quantity has an option of its own: --quantity"),
        (["resolution=2K", "resolution=4K"], "resolution is given twice"),
    ],
)
def test_a_field_that_cannot_be_meant_is_a_usage_error(given: list[str], message: str) -> None:
    with pytest.raises(typer.BadParameter, match=message):
        check_fields(given)


def test_the_help_lists_what_the_catalog_has() -> None:
    assert set(list_models().split(", ")) == set(list_families())
    assert {"resolution", "quality", "upload_cn"} <= set(list_other_fields().split(", "))
