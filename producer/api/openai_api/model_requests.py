"""Lists the models that callers may name, as OpenAI does."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from producer.api.endpoint import Call
from producer.api.openai_api.model_names import NamedModel, find_model, list_models
from producer.api.responses.json_response import json_response


async def list_model_names(call: Call) -> web.StreamResponse:
    """Return every name that a request may have as `model`."""
    del call
    models = [_to_json(model) for _, model in sorted(list_models().items())]
    return json_response({"object": "list", "data": models})


async def show_model_name(call: Call) -> web.StreamResponse:
    """Return one model."""
    return json_response(_to_json(find_model(call.request.match_info["id"])))


def _to_json(model: NamedModel) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "darkroom",
        "darkroom": {"model": model.family.name, "tasks": sorted(model.family.tasks)},
    }
