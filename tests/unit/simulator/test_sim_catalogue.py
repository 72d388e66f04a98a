"""Kie's catalogue API: the models, and of each its schema, price and success rate."""

from __future__ import annotations

from typing import Any

import pytest

from shared.catalog import KieResponse, list_families
from tests.unit.simulator.fake_kie import CALLER, FakeKie, read
from worker.kie.catalogue_responses import find_missing_parts, read_credits, read_input_schema
from worker.simulator.catalogue_routes import MODELS, answer_catalogue, is_catalogue_path
from worker.simulator.provider_state import Caller

MODELS_BY_NAME = {one.name: one for family in list_families().values() for one in family.kie_models}
NAMES = MODELS_BY_NAME.keys()


def ask(fake: FakeKie, path: str = "", **query: str) -> dict[str, Any]:
    fake.time.advance(1)
    assert is_catalogue_path(MODELS + path)
    return read(answer_catalogue(fake.kie, CALLER, MODELS + path, query))


def names(fake: FakeKie, **query: str) -> set[str]:
    data = ask(fake, **query)["data"]
    assert data["total"] == len(data["models"])
    return {one["model"] for one in data["models"]}


def fields(fake: FakeKie, model: str) -> dict[str, Any]:
    openapi = ask(fake, f"/{model}/schema")["data"]["openapi"]
    post = openapi["paths"]["/api/v1/jobs/createTask"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["model"]["enum"] == [model]
    task_input: dict[str, Any] = schema["properties"]["input"]
    return task_input


def test_every_model_of_the_catalog_is_listed_with_its_price_text() -> None:
    fake = FakeKie()
    assert names(fake) == NAMES
    one = ask(fake, q="4o-image-api")["data"]["models"][0]
    assert one["provider"] == "OpenAI"
    assert one["taskType"] == ["Text to Image", "Image to Image"]
    assert one["pricingDesc"] == ask(fake, "/4o-image-api/price")["data"]["pricingDesc"]


def test_the_list_is_filtered_by_task_provider_and_words() -> None:
    fake = FakeKie()
    edits = names(fake, taskType="Image to Image")
    assert "gpt-image-2-image-to-image" in edits
    assert "gpt-image-2-text-to-image" not in edits
    assert names(fake, provider="Google") == set()
    assert names(fake, q="image 2 text", provider="openai") >= {"gpt-image-2-text-to-image"}


@pytest.mark.parametrize("model", sorted(NAMES))
def test_each_model_has_its_own_schema_and_no_rules_between_fields(model: str) -> None:
    task_input = fields(FakeKie(), model)
    assert task_input.keys() == {"type", "required", "properties"}
    assert set(task_input["required"]) <= set(task_input["properties"])


@pytest.mark.parametrize("model", sorted(NAMES))
def test_the_catalogue_confirms_what_ours_knows_of_each_model(model: str) -> None:
    fake, ours = FakeKie(), MODELS_BY_NAME[model]
    answers = [ask(fake, f"/{model}/{part}") for part in ("schema", "price")]
    schema = read_input_schema(KieResponse(200, answers[0], ""))
    assert schema is not None
    assert find_missing_parts(ours.input_schema, schema) == []
    told = read_credits(answers[1]["data"]["pricingDesc"])
    assert set(told) >= set(ours.credits.values())


def test_a_model_a_field_and_a_schema_can_be_gone() -> None:
    gone = FakeKie(gone_model="gpt-image-2-text-to-image")
    assert names(gone) == NAMES - {"gpt-image-2-text-to-image"}
    assert ask(gone, "/gpt-image-2-text-to-image/schema")["code"] == 404
    without = fields(FakeKie(gone_field="background"), "gpt-image-2-text-to-image")
    assert "background" not in without["properties"]
    assert "resolution" in without["properties"]
    unpublished = FakeKie(schema_unpublished=True)
    assert ask(unpublished, "/4o-image-api/schema")["data"]["openapi"] is None


@pytest.mark.parametrize(
    ("model", "factor", "told"),
    [
        ("4o-image-api", 2, "just 12 credits per image (~$0.06)"),
        ("gpt-image-2-text-to-image", 1.5, "9 credits ($0.045) for 1 K, 15 credits"),
        ("gpt-image/1.5-text-to-image", 0.5, "credits"),
    ],
)
def test_a_moved_price_is_in_the_text(model: str, factor: float, told: str) -> None:
    before = ask(FakeKie(), f"/{model}/price")["data"]["pricingDesc"]
    after = ask(FakeKie(price_factor=factor), f"/{model}/price")["data"]["pricingDesc"]
    assert told in after
    assert after != before


@pytest.mark.parametrize(("rate", "percent", "normal"), [(0.99, 99.0, True), (0.4, 40.0, False)])
def test_the_success_rate_has_a_day_in_buckets_of_ten_minutes_and_falls_in_the_last_hour(
    rate: float, percent: float, normal: bool
) -> None:
    points = ask(FakeKie(success_rate=rate), "/4o-image-api/success-rate")["data"]["points"]
    assert len(points) == 144
    assert (points[0]["start"], points[-1]["end"]) == (
        "2027-01-14T08:00:00Z",
        "2027-01-15T08:00:00Z",
    )
    known = [one for one in points if one["successRate"] is not None]
    assert 0 < len(known) < 144
    last_hour = known[-6:]
    assert {one["successRate"] for one in last_hour} == {percent}
    assert {one["isNormal"] for one in last_hour} == {normal}
    assert {one["successRate"] for one in known[:-6]} == {99.0}


def test_all_requests_of_an_account_share_one_a_second() -> None:
    fake = FakeKie()
    ask(fake)
    paths = (MODELS, f"{MODELS}/4o-image-api/price", f"{MODELS}/4o-image-api/success-rate")
    codes = [read(answer_catalogue(fake.kie, CALLER, path, {}))["code"] for path in paths]
    assert codes == [429, 429, 429]
    assert ask(fake)["code"] == 200


def test_a_wrong_key_an_unknown_model_and_a_wrong_path() -> None:
    wrong = read(answer_catalogue(FakeKie().kie, Caller("Bearer x"), MODELS, {}))
    assert wrong["code"] == 401
    assert ask(FakeKie(), "/veo-9/price")["code"] == 404
    assert not is_catalogue_path(f"{MODELS}/4o-image-api")
    assert not is_catalogue_path(f"{MODELS}/4o-image-api/cost")
