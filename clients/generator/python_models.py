"""Writes the typed models, orders and problems of the client for Python."""

from __future__ import annotations

import json
import keyword
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from clients.generator.openapi_schemas import (
    ProblemType,
    Schema,
    model_names,
    order_names,
    problem_types,
    referenced,
    words_of,
)

_WIDTH = 100
_NAMES = {"Job": "JobFields", "FaultOfField": "FieldFault"}
"""Names of schemas in the client, where they differ."""
_ALIASES = {"state": "JobState", "priority": "Priority"}
"""Enumerations that have a name, by the property that holds them."""
_VALUES = {"state": "queued", "priority": "high"}
"""A value by which such an enumeration is told from others of the same name."""
_TYPES = {"string": "str", "integer": "int", "boolean": "bool", "null": "None"}
_ORDER_ONLY = ("account_id", "metadata", "webhook_url", "priority", "run_at")
_MEMBERS = {
    "insufficient_credits": ("needed", "available", "held"),
    "idempotency_conflict": ("job_id", "differs"),
    "too_late_to_cancel": ("job_id", "state"),
}


def models_text(document: Schema) -> str:
    """Return `models.py`: one frozen dataclass per schema of an answer."""
    names = [name for name in model_names(document) if not _is_about_webhooks(name)]
    job = document["components"]["schemas"]["Job"]["properties"]
    aliases = [f"{alias} = {_literal(job[name]['enum'])}" for name, alias in _ALIASES.items()]
    return _models_text(document, names, aliases)


def webhook_models_text(document: Schema) -> str:
    """Return `webhook_models.py`: the answers about webhook messages and their secrets."""
    names = [name for name in model_names(document) if _is_about_webhooks(name)]
    return _models_text(document, names, [])


def _is_about_webhooks(name: str) -> bool:
    return "Webhook" in name and name != "WebhookMessage"


def _models_text(document: Schema, names: list[str], aliases: list[str]) -> str:
    schemas = document["components"]["schemas"]
    body = list(aliases)
    for name in _sorted_by_use(names, schemas):
        body += ["", "", *_dataclass(name, schemas[name])]
    typing = [name for name in ("Any", "Literal") if re.search(rf"\b{name}\b", "\n".join(body))]
    lines = [
        '"""What the API returns. Written by `make types` from the OpenAPI document."""',
        "",
        "from __future__ import annotations",
        "",
        "from dataclasses import dataclass",
        "from datetime import datetime",
        "from decimal import Decimal",
        f"from typing import {', '.join(typing)}",
        "",
        *body,
    ]
    return "\n".join(lines) + "\n"


def _sorted_by_use(names: list[str], schemas: Schema) -> list[str]:
    """Return the names with each schema after those that it contains."""
    done: list[str] = []

    def add(name: str) -> None:
        if name in done or name not in names:
            return
        for rule in schemas[name]["properties"].values():
            for part in (rule, rule.get("items", {}), *rule.get("anyOf", [])):
                add(referenced(part) or "")
        done.append(name)

    for name in names:
        add(name)
    return done


def _dataclass(name: str, schema: Schema) -> Iterator[str]:
    yield "@dataclass(frozen=True, kw_only=True)"
    yield f"class {_NAMES.get(name, name)}:"
    yield from _docstring(schema["description"])
    yield ""
    for field, rule in schema["properties"].items():
        yield f"    {_identifier(field)}: {_type(field, rule)}"
        if "description" in rule:
            yield from _docstring(rule["description"])


def _identifier(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def _docstring(text: str) -> Iterator[str]:
    quoted = f'"""{words_of(text)}"""'
    indented = textwrap.wrap(
        quoted, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_long_words=False
    )
    if len(indented) > 1 and len(indented[-1]) > _WIDTH - 3:
        indented[-1] = indented[-1].removesuffix('"""')
        indented.append('    """')
    yield from indented


def _type(name: str, rule: Schema) -> str:
    model = referenced(rule)
    if model:
        return _NAMES.get(model, model)
    if name in _ALIASES and _VALUES[name] in rule.get("enum", ()):
        return _ALIASES[name]
    if "enum" in rule or "const" in rule:
        values = rule.get("enum", [rule.get("const")])
        chosen = [one for one in values if one is not None]
        return _literal(chosen) + (" | None" if None in values else "")
    if "anyOf" in rule:
        return " | ".join(_type(name, one) for one in rule["anyOf"])
    names = rule.get("type", "object")
    return " | ".join(
        _simple_type(name, one, rule) for one in (names if isinstance(names, list) else [names])
    )


def _simple_type(name: str, kind: str, rule: Schema) -> str:
    if kind == "array":
        return f"tuple[{_type(name, rule['items'])}, ...]"
    if kind == "object":
        return "dict[str, Any]"
    if kind == "number":
        # Fractions are from 0 to 1; every other number is credits.
        return "float" if (rule.get("minimum"), rule.get("maximum")) == (0, 1) else "Decimal"
    if kind == "string" and rule.get("format") == "date-time":
        return "datetime"
    return _TYPES[kind]


def _literal(values: list[Any]) -> str:
    texts = ", ".join(f'"{one}"' if isinstance(one, str) else repr(one) for one in values)
    return f"Literal[{texts}]"


# --- orders ---------------------------------------------------------------------------------


def orders_text(document: Schema) -> str:
    """Return `orders.py`: the fields of all orders, and a typed dictionary per model and task."""
    schemas = document["components"]["schemas"]
    orders = {name: schemas[name] for name in order_names(document)}
    lines = [
        '"""What an order may contain. Written by `make types` from the OpenAPI document."""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping, Sequence",
        "from datetime import datetime",
        "from os import PathLike",
        "from typing import Any, Literal, Required, TypeAlias, TypedDict",
        "",
        "ImageSource: TypeAlias = str | PathLike[str]",
        '"""A public URL, or a local file that the client uploads first."""',
        "",
        "",
        "class OrderNotes(TypedDict, total=False):",
        '    """What an order of any model may have beside the request."""',
        "",
    ]
    first = next(iter(orders.values()))["properties"]
    for name in _ORDER_ONLY:
        lines.append(f"    {name}: {_order_type(name, [first[name]])}")
        lines += _docstring(first[name]["description"])
    lines += ["", "", "class OrderFields(OrderNotes, total=False):"]
    lines += ['    """The fields of every model. The API says which one has which."""', ""]
    for name, rules in _merged(orders).items():
        lines.append(f"    {name}: {_order_type(name, rules)}")
        texts = {rule.get("description") for rule in rules}
        lines += [line for text in texts if text and len(texts) == 1 for line in _docstring(text)]
    for name, schema in orders.items():
        lines += ["", "", *_order(name, schema)]
    union = textwrap.wrap(" | ".join(orders), _WIDTH - 4)
    lines += ["", "", "Order: TypeAlias = (", *(f"    {line}" for line in union), ")"]
    lines += ['"""Any order."""']
    return "\n".join(lines) + "\n"


def _merged(orders: Mapping[str, Schema]) -> dict[str, list[Schema]]:
    """Return the rules of each field of a request, over all models."""
    merged: dict[str, list[Schema]] = {}
    for schema in orders.values():
        for name, rule in schema["properties"].items():
            if name not in _ORDER_ONLY:
                merged.setdefault(name, []).append(rule)
    return merged


def _order(name: str, schema: Schema) -> Iterator[str]:
    yield f"class {name}(OrderNotes, total=False):"
    yield f'    """{words_of(schema["description"])}"""'
    yield ""
    for field, rule in schema["properties"].items():
        if field not in _ORDER_ONLY:
            kind = _order_type(field, [rule])
            yield f"    {field}: {f'Required[{kind}]' if field in schema['required'] else kind}"


def _order_type(name: str, rules: list[Schema]) -> str:
    if name == "metadata":
        return "Mapping[str, Any]"
    if name == "run_at":
        return "datetime | None"
    values = [
        value
        for rule in rules
        for value in rule.get("enum", [rule["const"]] if "const" in rule else [])
    ]
    if values:
        chosen = [one for one in dict.fromkeys(values) if one is not None]
        return _literal(chosen) + (" | None" if None in values else "")
    kinds: dict[str, None] = {}
    for rule in rules:
        names = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
        for kind in names:
            kinds[_order_kind(name, kind)] = None
    return " | ".join(kinds)


def _order_kind(name: str, kind: str) -> str:
    if kind == "array":
        return "Sequence[ImageSource]"
    if name == "mask_url" and kind == "string":
        return "ImageSource"
    return _TYPES[kind]


# --- problems -------------------------------------------------------------------------------


def problems_text(document: Schema) -> str:
    """Return `problems.py`: one exception per code of a problem."""
    lines = [
        '"""One exception per `type` of a refusal. Written by `make types` from the document."""',
        "",
        "from __future__ import annotations",
        "",
        "from decimal import Decimal",
        "",
        "from darkroom_client.errors import ApiError",
        "from darkroom_client.json_reader import read_value",
    ]
    members = document["components"]["schemas"]["Problem"]["properties"]
    problems = problem_types(document)
    for one in problems:
        lines += ["", "", *_exception(one, members)]
    lines += ["", "", "BY_CODE: dict[str, type[ApiError]] = {"]
    lines += [f'    "{one.code}": {_class_name(one.code)},' for one in problems]
    lines += ["}", '"""The exceptions by the word that ends `type`."""']
    lines += ["", "STATUS_AND_TITLE: dict[str, tuple[int, str]] = {"]
    lines += [f'    "{one.code}": ({one.status}, {json.dumps(one.title)}),' for one in problems]
    lines += ["}"]
    return "\n".join(lines) + "\n"


def _class_name(code: str) -> str:
    return "".join(word.capitalize() for word in code.split("_"))


def _exception(one: ProblemType, members: Schema) -> Iterator[str]:
    yield f"class {_class_name(one.code)}(ApiError):"
    yield f'    """{words_of(one.title)[:-1]} ({one.status})."""'
    for name in _MEMBERS.get(one.code, ()):
        kind = _type("", members[name])
        yield ""
        yield "    @property"
        yield f"    def {name}(self) -> {kind}:"
        yield f'        """{words_of(members[name]["description"])}"""'
        yield f'        value: {kind} = read_value({kind}, self.body["{name}"], "{name}")'
        yield "        return value"
