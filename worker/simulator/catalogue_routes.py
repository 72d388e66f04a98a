"""Kie's catalogue: GET /api/v1/models, and of one model its schema, price and success rate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.catalog.model_family import KieModel

from .fault_switches import FaultSwitches
from .market_models import list_models
from .provider_state import Caller, SimulatedProvider
from .responses import RefusedError, SimulatedResponse, success

MODELS = "/api/v1/models"

# A slash in the name of a model stands in the path as it is.
_ABOUT_ONE = re.compile(rf"{MODELS}/(.+)/(schema|price|success-rate)")
_BUCKET = timedelta(minutes=10)
_BUCKETS = 144
# One of the six is empty, and six that are not make an hour of Kie's.
_BUCKETS_OF_LAST_HOUR = 7
_USUAL_PERCENT = 99.0
_NORMAL_FROM_PERCENT = 90.0


def is_catalogue_path(path: str) -> bool:
    """Whether the path is one of the catalogue."""
    return path == MODELS or _ABOUT_ONE.fullmatch(path) is not None


def answer_catalogue(
    kie: SimulatedProvider, caller: Caller, path: str, query: Mapping[str, str]
) -> SimulatedResponse:
    """Answer one request. All of an account share one request a second."""
    try:
        account = kie.check_caller(caller, "other")
    except RefusedError as refused:
        return refused.reply
    faults = kie.faults_of(account)
    if not account.catalogue_limit.admit(kie.clocks.monotonic()):
        return kie.error(429, faults=faults)
    models = list_models(faults)
    found = _ABOUT_ONE.fullmatch(path)
    if found is None:
        listed = [_show_model(one) for one in models.values() if _fits(one, query)]
        return success({"total": len(listed), "models": listed})
    model = models.get(found[1])
    if model is None:
        return kie.error(404, f"Model {found[1]} not found", faults=faults)
    return success({"model": model.name, **_show_part(kie, model, found[2], faults)})


def _show_part(
    kie: SimulatedProvider, model: KieModel, part: str, faults: FaultSwitches
) -> dict[str, object]:
    if part == "price":
        return {"pricingDesc": model.price_text}
    if part == "schema":
        return {"openapi": None if faults.schema_unpublished else _show_openapi(model)}
    return {"points": _show_success_rate(kie.clocks.epoch(), faults.success_rate * 100.0)}


def _show_model(model: KieModel) -> dict[str, object]:
    return {
        "model": model.name,
        "slug": model.name,
        "title": model.title,
        "provider": model.provider,
        "taskType": list(model.task_types),
        "description": None,
        "pricingDesc": model.price_text,
    }


def _fits(model: KieModel, query: Mapping[str, str]) -> bool:
    task_type = query.get("taskType", "").lower()
    provider = query.get("provider", "").lower()
    words = query.get("q", "").lower().split()
    about = f"{model.name} {model.title} {model.provider}".lower()
    return (
        (not task_type or task_type in (one.lower() for one in model.task_types))
        and (not provider or provider == model.provider.lower())
        and all(word in about for word in words)
    )


def _show_openapi(model: KieModel) -> dict[str, Any]:
    """The document of a model. Rules between fields are in Kie's text alone, so none are here."""
    task_input = {name: model.input_schema[name] for name in ("type", "required", "properties")}
    schema = {
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "model": {"type": "string", "enum": [model.name], "default": model.name},
            "callBackUrl": {"type": "string", "format": "uri"},
            "input": task_input,
        },
    }
    post = {
        "summary": model.title,
        "deprecated": False,
        "operationId": model.name,
        "requestBody": {"content": {"application/json": {"schema": schema}}, "required": True},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "kie.ai", "version": "1.0.0"},
        "paths": {"/api/v1/jobs/createTask": {"post": post}},
    }


def _show_success_rate(epoch: float, percent: float) -> list[dict[str, object]]:
    """The last 24 hours, the last of them at this rate and the others at the usual one.

    A bucket without tasks has no rate: here the first of each hour.
    """
    now = datetime.fromtimestamp(epoch, UTC)
    end = now.replace(minute=now.minute // 10 * 10, second=0, microsecond=0)
    points: list[dict[str, object]] = []
    for number in range(_BUCKETS, 0, -1):
        start = end - number * _BUCKET
        is_empty = start.minute == 0
        rate = percent if number <= _BUCKETS_OF_LAST_HOUR else _USUAL_PERCENT
        points.append(
            {
                "start": _show_minute(start),
                "end": _show_minute(start + _BUCKET),
                "successRate": None if is_empty else round(rate, 2),
                "errorRate": None if is_empty else round(100.0 - rate, 2),
                "isNormal": is_empty or rate >= _NORMAL_FROM_PERCENT,
            }
        )
    return points


def _show_minute(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
