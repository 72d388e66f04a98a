"""Reads the order of `GET /v1/quote`: the fields of a job's body as query parameters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson
from aiohttp import web

from producer.orders.order_fields import OrderFields
from shared.catalog import list_families

_ORDER_FIELDS = ("account_id", "priority", "run_at")


@cache
def quote_fields() -> Mapping[str, frozenset[str]]:
    """Return the fields of every model and of an order, each with its types in JSON."""
    found: dict[str, set[str]] = {"model": {"string"}, "task": {"string"}}
    orders = OrderFields.model_json_schema()["properties"]
    properties = [(name, orders[name]) for name in _ORDER_FIELDS]
    for family in list_families().values():
        for model in family.tasks.values():
            properties += model.model_json_schema()["properties"].items()
    for name, rule in properties:
        found.setdefault(name, set()).update(_types_of(rule))
    return {name: frozenset(types) for name, types in found.items()}


def _types_of(rule: Mapping[str, Any]) -> set[str]:
    if "anyOf" in rule:
        return {kind for one in rule["anyOf"] for kind in _types_of(one)}
    kinds = rule.get("type", "string")
    return {*kinds} if isinstance(kinds, list) else {kinds}


def read_quote_body(request: web.Request) -> dict[str, Any]:
    """Return the query as the body of `POST /v1/jobs` that it stands for.

    A list is a parameter that is given more than once. A value that does not fit its field, and a
    parameter that is no field, stay as they are: the checks of orders name them.
    """
    body: dict[str, Any] = {}
    for name in dict.fromkeys(request.query):
        values = request.query.getall(name)
        types = quote_fields().get(name, frozenset({"string"}))
        if "array" in types or len(values) > 1:
            body[name] = values
        else:
            body[name] = values[0] if "string" in types else _read_json(values[0])
    return body


def _read_json(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
