"""The component schemas of the OpenAPI document, generated from the models of the API.

Request bodies come from the request models of the catalog, `OrderFields` and the admin bodies.
Responses come from `producer.api.openapi.response_models`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from producer.api.openapi.bulk_models import BULK_MODELS
from producer.api.openapi.detail_models import DETAIL_MODELS
from producer.api.openapi.evidence_models import EVIDENCE_MODELS
from producer.api.openapi.file_models import FILE_MODELS
from producer.api.openapi.money_models import MONEY_MODELS
from producer.api.openapi.monitoring_models import MONITORING_MODELS
from producer.api.openapi.response_models import RESPONSE_MODELS
from producer.api.openapi.retention_models import RETENTION_MODELS
from producer.api.openapi.session_models import SESSION_MODELS
from producer.api.requests.admin_bodies import (
    Erasure,
    Grant,
    NewAccount,
    PriceChange,
    Refund,
    ScheduledPriceOrder,
)
from producer.api.requests.bulk_bodies import ManyImages, ManyJobs, ManyRetries
from producer.api.requests.limits_body import LimitsChange
from producer.api.requests.operator_bodies import (
    RESOLUTIONS,
    AlertAcknowledgement,
    Retry,
    RouteChoice,
)
from producer.api.requests.order_body import MAX_BATCH_JOBS
from producer.api.requests.pause_body import BrakeEnd, PauseStart
from producer.orders.field_limits import DEFAULT_MODEL
from producer.orders.order_fields import ORDER_FIELD_NAMES, OrderFields
from shared.catalog import ImageRequest, list_families

REF = "#/components/schemas/"

# JSON without the character NUL, which Postgres cannot store. `OrderFields` checks the same.
_NO_NUL: dict[str, Any] = {"pattern": r"^[^\x00]*$"}
_NOTES: dict[str, dict[str, Any]] = {
    "Notes": {
        "type": "object",
        "propertyNames": _NO_NUL,
        "additionalProperties": {"$ref": f"{REF}Note"},
    },
    "Note": {
        "anyOf": [
            {"type": ["null", "boolean", "number"]},
            {"type": "string", **_NO_NUL},
            {"type": "array", "items": {"$ref": f"{REF}Note"}},
            {"$ref": f"{REF}Notes"},
        ]
    },
}

_BODIES: tuple[type[BaseModel], ...] = (
    *(PriceChange, ScheduledPriceOrder, NewAccount, Grant, Refund, LimitsChange, Erasure),
    *(PauseStart, BrakeEnd, AlertAcknowledgement, Retry, RouteChoice),
    *(ManyJobs, ManyRetries, ManyImages),
    *RESOLUTIONS.values(),
)


def component_schemas() -> dict[str, Any]:
    """Return every component schema by its name."""
    orders = dict(_orders())
    responses = _model_schemas(
        (
            *(*RESPONSE_MODELS, *BULK_MODELS, *DETAIL_MODELS, *FILE_MODELS),
            *(*MONEY_MODELS, *MONITORING_MODELS, *EVIDENCE_MODELS, *RETENTION_MODELS),
            *SESSION_MODELS,
        )
    )
    names = [{"$ref": REF + name} for name in orders]
    return {
        "JobOrder": {
            "description": "A job to place: one of the tasks of one of the models.",
            "oneOf": names,
        },
        **orders,
        **_NOTES,
        "JobBatch": _batch(orders),
        **_model_schemas(_BODIES),
        "Resolution": {
            "description": "What became of a job in doubt, by its verdict.",
            "oneOf": [{"$ref": REF + one.__name__} for one in RESOLUTIONS.values()],
        },
        **responses,
        **_selected_job_schemas(responses["Job"]),
    }


def _selected_job_schemas(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of a job with all fields, or with those that `fields` selects."""
    part = {name: rule for name, rule in job.items() if name != "required"}
    return {
        "ShownJob": {"anyOf": [{"$ref": f"{REF}Job"}, {"$ref": f"{REF}JobPart"}]},
        "JobPart": {
            **part,
            "description": "Those fields of a job that `fields` has named.",
            "minProperties": 1,
        },
    }


def _model_schemas(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    inputs: list[tuple[type[BaseModel], JsonSchemaMode]] = [(one, "validation") for one in models]
    _, found = models_json_schema(inputs, ref_template=REF + "{model}")
    return {name: _simplify(schema) for name, schema in found["$defs"].items()}


def _orders() -> Iterator[tuple[str, dict[str, Any]]]:
    properties = _model_schemas((OrderFields,))["OrderFields"]["properties"]
    order_fields = {name: properties[name] for name in ORDER_FIELD_NAMES}
    order_fields["metadata"] = {
        "$ref": f"{REF}Notes",
        "description": properties["metadata"]["description"],
        "examples": [{"order": 1042}],
    }
    for one in list_families().values():
        for task, request in one.tasks.items():
            for name, schema in _model_schemas((request,)).items():
                if name == request.__name__:
                    yield _order_name(one.name, task), _order(schema, request, order_fields)
                else:
                    yield name, schema


def _order_name(model: str, task: str) -> str:
    """Return `Gpt4oImageTextToImage` for the model gpt-4o-image and the task text-to-image."""
    words = f"{model}-{task}".replace(".", "-").split("-")
    name = "".join(word[:1].upper() + word[1:] for word in words)
    # Generators make a type of the name, so it begins with a letter.
    return name if name[0].isalpha() else f"Model{name}"


def _order(
    schema: Mapping[str, Any], request: type[ImageRequest], order_fields: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the schema of a job's body: order fields, model, task, and fields of the request."""
    model: dict[str, Any] = {"type": "string", "const": request.model}
    if request.model == DEFAULT_MODEL:
        model["default"] = DEFAULT_MODEL
    needed = ["task"] if request.model == DEFAULT_MODEL else ["model", "task"]
    account = {
        **order_fields["account_id"],
        "description": "who pays; the account must exist. A service key may leave it out: it pays"
        " from its own account",
    }
    common = {"account_id": "acme", "model": request.model, "task": request.task}
    return {
        **schema,
        "description": f"{request.task} by {request.model}",
        "properties": {
            "account_id": account,
            "model": model,
            "task": {"type": "string", "const": request.task},
            **schema["properties"],
            **{name: rule for name, rule in order_fields.items() if name != "account_id"},
        },
        "required": [*needed, *schema.get("required", [])],
        "examples": [{**common, **example} for example in schema.get("examples", [])],
    }


def _batch(orders: Mapping[str, Any]) -> dict[str, Any]:
    examples = [order["examples"][0] for order in orders.values() if order.get("examples")]
    return {
        "description": f"Up to {MAX_BATCH_JOBS:,} jobs.",
        "type": "object",
        "properties": {
            "jobs": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_BATCH_JOBS,
                "items": {"$ref": f"{REF}JobOrder"},
            }
        },
        "required": ["jobs"],
        "additionalProperties": False,
        "examples": [{"jobs": examples}],
    }


def _simplify(schema: Any) -> Any:
    """Return the schema without titles, and with `null` in `type` instead of in `anyOf`."""
    if isinstance(schema, list):
        return [_simplify(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        name: {field: _simplify(rule) for field, rule in value.items()}
        if name == "properties"
        else value
        if name in {"examples", "default", "const", "enum"}
        else _simplify(value)
        for name, value in schema.items()
        if name != "title"
    }
    return _with_null_as_a_type(kept)


def _with_null_as_a_type(schema: dict[str, Any]) -> dict[str, Any]:
    choices = schema.get("anyOf", [])
    if len(choices) != 2 or choices[1] != {"type": "null"} or "type" not in choices[0]:
        return schema
    rules = {**choices[0], "type": [choices[0]["type"], "null"]}
    if "enum" in rules:
        rules["enum"] = [*rules["enum"], None]
    return {**rules, **{name: value for name, value in schema.items() if name != "anyOf"}}
