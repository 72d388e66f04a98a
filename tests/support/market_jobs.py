"""Requests to the models of Kie's Market, with directives for the simulator."""

from __future__ import annotations

from shared.catalog import ImageRequest, get_family, list_families


def market_examples() -> list[ImageRequest]:
    """Return the examples of all families of the Market."""
    return [
        family.validate(task, fields)
        for family in list_families().values()
        if family.kie_models
        for task, model in family.tasks.items()
        for fields in model.model_json_schema()["examples"]
    ]


def with_directives(request: ImageRequest, directives: str) -> ImageRequest:
    """Return the request with directives for the simulator in its prompt."""
    fields = request.model_dump(mode="json", exclude_none=True)
    fields["prompt"] = f"{fields.get('prompt', '')} [[sim: {directives}]]"
    return get_family(request.model).validate(request.task, fields)
