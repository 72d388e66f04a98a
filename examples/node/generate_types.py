"""`make types`: writes the types of the API's data into darkroom.d.mts.

They follow from the OpenAPI document.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from producer.api.openapi.document import build_document
from producer.api.routes import ENDPOINTS
from tests.support.report_page import rewrite_section

PAGE = Path(__file__).with_name("darkroom.d.mts")
BEGIN = "// Written by `make types`:"
END = "// The end of what `make types` writes."

_NAMES = {"JobOrder": "Order", "Event": "JobEvent"}
"""The names of schemas here, where they differ."""
_TYPES = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
    "object": "Record<string, unknown>",
}
_Schemas = Mapping[str, Mapping[str, Any]]


def types_section() -> str:
    """Return the types of orders, jobs, accounts and events."""
    schemas: _Schemas = build_document(ENDPOINTS)["components"]["schemas"]
    orders = [one["$ref"].rpartition("/")[2] for one in schemas["JobOrder"]["oneOf"]]
    parts = [
        'export type State = Job["state"];',
        f"export type Order = {' | '.join(orders)};",
        *(_interface(name, schemas) for name in (*orders, "Job", "Account", "Event")),
    ]
    return "\n\n".join(parts)


def _interface(name: str, schemas: _Schemas) -> str:
    lines = "\n".join(_members(schemas[name], schemas))
    return f"export interface {_NAMES.get(name, name)} {{\n{lines}\n}}"


def _members(schema: Mapping[str, Any], schemas: _Schemas) -> Iterator[str]:
    for name, rule in schema["properties"].items():
        if "description" in rule:
            yield f"  /** {rule['description']} */"
        mark = "" if name in schema["required"] else "?"
        yield f"  {name}{mark}: {_type(rule, schemas)};"


def _members_in_line(schema: Mapping[str, Any], schemas: _Schemas) -> Iterator[str]:
    for name, rule in schema["properties"].items():
        yield f"{name}: {_type(rule, schemas)};"


def _type(rule: Mapping[str, Any], schemas: _Schemas) -> str:
    if "$ref" in rule:
        return _type(schemas[rule["$ref"].rpartition("/")[2]], schemas)
    if "const" in rule:
        return json.dumps(rule["const"])
    if "enum" in rule:
        return " | ".join(json.dumps(value) for value in rule["enum"])
    if "properties" in rule:
        return f"{{ {' '.join(_members_in_line(rule, schemas))} }}"
    if "anyOf" in rule:
        return " | ".join(_type(one, schemas) for one in rule["anyOf"])
    names = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    return " | ".join(
        f"Array<{_type(rule['items'], schemas)}>" if name == "array" else _TYPES[name]
        for name in names
    )


if __name__ == "__main__":
    rewrite_section(PAGE, BEGIN, END, types_section())
