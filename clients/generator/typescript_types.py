"""Writes the types of the client for Node."""

from __future__ import annotations

import json
from collections.abc import Iterator

from clients.generator.openapi_schemas import (
    Schema,
    model_names,
    order_names,
    problem_types,
    referenced,
    words_of,
)

_NAMES = {"Job": "JobFields", "FaultOfField": "FieldFault", "Event": "EventFields"}
"""Names of schemas in the client, where they differ."""
_ALIASES = {"state": "JobState", "priority": "Priority"}
"""Enumerations that have a name, by the property that holds them."""
_TYPES = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
    "object": "Record<string, unknown>",
}


def types_text(document: Schema) -> str:
    """Return `models.ts`: one interface per schema of an answer and per order."""
    schemas = document["components"]["schemas"]
    job = schemas["Job"]["properties"]
    orders = order_names(document)
    codes = [json.dumps(one.code) for one in problem_types(document)]
    parts = [
        "// What the API takes and returns. Written by `make types` from the OpenAPI document.",
        *(f"export type {alias} = {_choice(job[name])};" for name, alias in _ALIASES.items()),
        "/** The words that end the `type` of a refusal. */\nexport type ProblemCode =\n  | "
        + "\n  | ".join(codes)
        + ";",
        *(_interface(name, schemas[name]) for name in model_names(document)),
        *(_interface(name, schemas[name], is_order=True) for name in orders),
        "/** Any order. */\nexport type Order =\n  | " + "\n  | ".join(orders) + ";",
    ]
    return "\n\n".join(parts) + "\n"


def _interface(name: str, schema: Schema, is_order: bool = False) -> str:
    lines = "\n".join(_members(schema, is_order))
    about = words_of(schema["description"])
    return f"/** {about} */\nexport interface {_NAMES.get(name, name)} {{\n{lines}\n}}"


def _members(schema: Schema, is_order: bool) -> Iterator[str]:
    for name, rule in schema["properties"].items():
        if "description" in rule:
            yield f"  /** {words_of(rule['description'])} */"
        mark = "?" if is_order and name not in schema["required"] else ""
        yield f"  readonly {name}{mark}: {_type(name, rule)};"


def _type(name: str, rule: Schema) -> str:
    model = referenced(rule)
    if model:
        return _NAMES.get(model, model)
    if "$ref" in rule:
        return "Record<string, unknown>" if name in {"metadata", "detail"} else "unknown"
    if "const" in rule:
        return json.dumps(rule["const"])
    if "enum" in rule:
        return _ALIASES.get(name, _choice(rule))
    if "anyOf" in rule:
        return " | ".join(_type(name, one) for one in rule["anyOf"])
    names = rule.get("type", "object")
    return " | ".join(
        f"readonly ({_type(name, rule['items'])})[]" if one == "array" else _TYPES[one]
        for one in (names if isinstance(names, list) else [names])
    )


def _choice(rule: Schema) -> str:
    return " | ".join(json.dumps(value) for value in rule["enum"])
