"""Selects what the clients need from the OpenAPI document: the schemas of what a service may do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from producer.api.openapi.document import build_document
from producer.api.routes import ENDPOINTS

Schema = Mapping[str, Any]

_REF = "#/components/schemas/"
_ROLES = re.compile(r"Roles: ([\w, ]+)\.")
_PROBLEM = re.compile(r"^- `(\w+)`: (.+)$", re.MULTILINE)
_LISTS = frozenset(
    {
        "JobPage",
        "LedgerPage",
        "WebhookPage",
        "Prices",
        "Jobs",
        "ShownJob",
        "JobPart",
        "StatementCsv",
    }
)
"""Schemas that the clients unpack: they return iterators and lists."""
_PLAIN = frozenset({"JsonValue", "Notes", "Note"})
"""Schemas of any JSON."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of refusal."""

    code: str
    status: int
    title: str


def read_document() -> Schema:
    """Return the OpenAPI document of this version."""
    return build_document(ENDPOINTS)


def service_operations(document: Schema) -> Iterator[Schema]:
    """Yield each operation that a key of the role `service` may use."""
    for operations in document["paths"].values():
        for operation in operations.values():
            roles = _ROLES.search(operation.get("description", ""))
            if roles and "service" in roles[1].split(", "):
                yield operation


def model_names(document: Schema) -> list[str]:
    """Return the schemas of the answers to services and of webhooks, in their order."""
    wanted = {"Problem", "WebhookMessage"}
    for operation in service_operations(document):
        wanted |= set(_references(operation["responses"]))
    schemas = document["components"]["schemas"]
    open_names = list(wanted)
    while open_names:
        found = set(_references(schemas[open_names.pop()])) - wanted
        wanted |= found
        open_names += found
    return [name for name in schemas if name in wanted - _LISTS - _PLAIN - {"Problem"}]


def order_names(document: Schema) -> list[str]:
    """Return the schemas of the orders, one per model and task."""
    one_of = document["components"]["schemas"]["JobOrder"]["oneOf"]
    return [one["$ref"].removeprefix(_REF) for one in one_of]


def problem_types(document: Schema) -> list[ProblemType]:
    """Return each problem that the document names, by status."""
    return [
        ProblemType(code, int(status), title)
        for status, response in document["components"]["responses"].items()
        for code, title in _PROBLEM.findall(response["description"])
    ]


def referenced(schema: Schema) -> str | None:
    """Return the name of the schema that this one refers to, None for any JSON and for others."""
    name: str = schema.get("$ref", "").removeprefix(_REF)
    return name if name and name not in _PLAIN else None


def words_of(text: str) -> str:
    """Return a description on one line, with a capital and a full stop."""
    line = " ".join(text.split())
    return line[:1].upper() + line[1:] + ("" if line.endswith(".") else ".")


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            if name == "$ref" and part.startswith(_REF):
                yield part.removeprefix(_REF)
            else:
                yield from _references(part)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for part in value:
            yield from _references(part)
