"""Builds the request of any model of the catalog, by the name of the model."""

from __future__ import annotations

from typing import Any

from shared.catalog import ImageRequest, get_family


def build_request(model: str, task: str, /, **fields: Any) -> ImageRequest:
    """Return the request of a model and a task, such as `text-to-image`, for `Producer.enqueue`.

    The fields are those of `POST /v1/jobs`. Raises `InvalidRequest` with all faults at once.
    """
    return get_family(model).validate(task, fields)
