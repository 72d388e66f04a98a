"""Writes the rules of orders by which the Darkroom in memory checks them."""

from __future__ import annotations

import json
from typing import Any

from clients.generator.openapi_schemas import Schema, order_names
from shared.catalog import list_families

_ORDER_FIELDS = frozenset(
    {"account_id", "model", "task", "metadata", "webhook_url", "priority", "run_at"}
)
_DECIDES_PRICE = "it decides the price"


def order_rules_text(document: Schema) -> str:
    """Return `order_rules.json`: the fields of each model and task, and what refusals say."""
    schemas = document["components"]["schemas"]
    models: dict[str, dict[str, Any]] = {}
    for name in order_names(document):
        properties = schemas[name]["properties"]
        model, task = properties["model"]["const"], properties["task"]["const"]
        models.setdefault(model, {})[task] = _task_rules(model, task, schemas[name])
    return json.dumps(models, indent=1, ensure_ascii=False) + "\n"


def _task_rules(model: str, task: str, schema: Schema) -> dict[str, Any]:
    request = list_families()[model].tasks[task]
    fields = {
        name: _field_rules(rule, name in schema["required"])
        for name, rule in schema["properties"].items()
        if name not in _ORDER_FIELDS
    }
    return {
        "fields": fields,
        "variant": next((name for name, one in fields.items() if one["decides_price"]), None),
        "between": [rule for rule in schema.get("allOf", []) if "then" in rule],
        "aliases": dict(request.field_aliases),
        "unsupported": dict(request.unsupported_fields),
    }


def _field_rules(rule: Schema, is_required: bool) -> dict[str, Any]:
    types = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    about = rule.get("description", "")
    return {
        "check": _check(rule, types[0]),
        "about": about,
        "required": is_required,
        "nullable": "null" in types,
        "default": rule.get("default"),
        "allowed": [one for one in rule.get("enum", []) if one is not None],
        "minimum": rule.get("minimum"),
        "maximum": rule.get("maximum", rule.get("maxItems", rule.get("maxLength"))),
        "decides_price": _DECIDES_PRICE in about,
    }


def _check(rule: Schema, kind: str) -> str:
    if "const" in rule:
        return "one"
    if "enum" in rule:
        return "number" if kind == "integer" else "choice"
    if rule.get("format") == "public-url":
        return "url"
    return {"boolean": "flag", "array": "images", "integer": "whole", "string": "text"}[kind]
