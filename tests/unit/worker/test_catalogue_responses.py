"""Kie's catalogue is read as others have saved it. What cannot be read is never a change."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.catalog import KieResponse
from worker.kie.catalogue_responses import (
    SuccessRate,
    find_missing_parts,
    read_credits,
    read_input_schema,
    read_price_texts,
    read_success_rate,
    schema_request,
)

OURS: dict[str, Any] = {
    "type": "object",
    "required": ["prompt"],
    "properties": {
        "prompt": {"type": "string"},
        "resolution": {"type": "string", "enum": ["1K", "2K", "4K"]},
    },
}
UNREADABLE: list[object] = [
    None,
    [],
    "text",
    {},
    {"models": None},
    {"models": []},
    {"models": [3]},
    {"points": []},
]
each_unreadable = pytest.mark.parametrize("data", UNREADABLE)


def told(data: object, code: int = 200) -> KieResponse:
    return KieResponse(200, {"code": code, "msg": "success", "data": data}, "")


def schema_of(**parts: Any) -> KieResponse:
    post = {
        "requestBody": {
            "content": {
                "application/json": {"schema": {"properties": {"input": OURS | parts}}},
            }
        }
    }
    return told({"openapi": {"paths": {"/api/v1/jobs/createTask": {"post": post}}}})


@pytest.mark.parametrize(
    ("text", "credits"),
    [
        ("just 6 credits per image (~$0.03) — flat", ["6"]),
        (
            "now just 6 credits ($0.03) for 1 K, 10 credits for 2 K, and 16 credits",
            ["6", "10", "16"],
        ),
        ("Pro mode at 5 credits per image (≈ $0.025) and Max mode at 10 credits", ["5", "10"]),
        ("480p: 1.75 credits/s, 3.5 credits/s with audio; 3.5 credits/s", ["1.75", "3.5"]),
        ("0,5 credits per upscale", ["0.5"]),
        ("1 credit ($0.005)", ["1"]),
        ("Convert costs 12.0 credits", ["12"]),
        ("Generate MIDI is free.", []),
        (None, []),
    ],
)
def test_the_credits_of_a_price_text_are_its_numbers(text: str | None, credits: list[str]) -> None:
    assert read_credits(text) == [Decimal(one) for one in credits]


def test_the_list_of_models_gives_each_price_text() -> None:
    models = [
        {"model": "gpt-image-2-text-to-image ", "pricingDesc": "6 credits"},
        {"model": "4o-image-api", "pricingDesc": None},
    ]
    assert read_price_texts(told({"total": 2, "models": models})) == {
        "gpt-image-2-text-to-image": "6 credits",
        "4o-image-api": None,
    }


@each_unreadable
def test_what_cannot_be_read_is_not_told(data: object) -> None:
    assert read_price_texts(told(data)) is None
    assert read_input_schema(told(data)) is None
    assert read_success_rate(told(data)) is None


@pytest.mark.parametrize(("status", "code"), [(200, 429), (429, 429), (200, 401), (500, 200)])
def test_a_refused_query_tells_nothing(status: int, code: int) -> None:
    data = {"models": [{"model": "4o-image-api"}], "points": [{"successRate": 99}]}
    response = KieResponse(status, {"code": code, "msg": "", "data": data}, "")
    assert read_price_texts(response) is None
    assert read_success_rate(response) is None


def test_a_schema_as_we_know_it_lacks_nothing() -> None:
    schema = read_input_schema(schema_of())
    assert schema is not None
    assert find_missing_parts(OURS, schema) == []


@pytest.mark.parametrize(
    ("parts", "missing"),
    [
        ({"properties": {"prompt": {}}}, ["resolution"]),
        (
            {"properties": {"prompt": {}, "resolution": {"enum": ["1K", "2K"]}}},
            ["resolution=4K"],
        ),
        ({"required": ["prompt", "quality"]}, ["required: quality"]),
        ({"properties": OURS["properties"] | {"background": {}}}, []),
    ],
)
def test_what_the_schema_lost_is_named(parts: dict[str, Any], missing: list[str]) -> None:
    schema = read_input_schema(schema_of(**parts))
    assert schema is not None
    assert find_missing_parts(OURS, schema) == missing


def test_blanks_around_the_keys_of_a_schema_are_ignored() -> None:
    properties = {"prompt ": {"type": "string"}, "resolution": {"enum ": ["1K", "2K", "4K"]}}
    schema = read_input_schema(schema_of(properties=properties))
    assert schema is not None
    assert find_missing_parts(OURS, schema) == []


def test_the_success_rate_is_that_of_the_last_hour_beside_the_usual_one() -> None:
    points = [{"successRate": 100.0}] * 12 + [{"successRate": 40.0}] * 6
    assert read_success_rate(told({"points": points})) == SuccessRate(Decimal(40), Decimal(80))


def test_intervals_without_a_rate_are_left_out() -> None:
    points = [{"successRate": 90.0}, {"successRate": None}, {}, {"successRate": 300}, "?"]
    assert read_success_rate(told({"points": points})) == SuccessRate(Decimal(90), Decimal(90))


def test_the_slash_of_a_model_name_stays_in_the_path() -> None:
    path = schema_request("gpt-image/1.5-text-to-image").path
    assert path == "/api/v1/models/gpt-image/1.5-text-to-image/schema"
