"""The table of the routes of OpenAI's images API.

They are not part of our OpenAPI document: OpenAI describes them, and its SDKs are their clients.
"""

from __future__ import annotations

from producer.api.endpoint import ALL_ROLES, ENQUEUE_ROLES, Endpoint
from producer.api.openai_api.edit_form import FORM_SECONDS
from producer.api.openai_api.image_requests import OpenaiImages
from producer.api.openai_api.model_names import ModelNotFound
from producer.api.openai_api.model_requests import list_model_names, show_model_name
from shared.settings import OPENAI_WAIT_SECONDS_MAX

_TAG = "openai"
_FETCH_SECONDS = 120.0
"""For what comes before and after the wait: the body, and the images."""


def openai_endpoints(images: OpenaiImages) -> tuple[Endpoint, ...]:
    """Return the routes. `images` serves those that make images."""
    return (
        Endpoint(
            method="POST",
            path="/openai/v1/images/generations",
            handler=images.generate,
            name="openaiGenerateImages",
            summary="Make images from a prompt, as OpenAI's API does",
            tag=_TAG,
            roles=ENQUEUE_ROLES,
            body="object",
            always_waits=True,
            timeout_seconds=OPENAI_WAIT_SECONDS_MAX + _FETCH_SECONDS,
        ),
        Endpoint(
            method="POST",
            path="/openai/v1/images/edits",
            handler=images.edit,
            name="openaiEditImages",
            summary="Make images from images and a prompt, as OpenAI's API does",
            tag=_TAG,
            roles=ENQUEUE_ROLES,
            uploads={"multipart/form-data": {"type": "object"}},
            always_waits=True,
            timeout_seconds=FORM_SECONDS + OPENAI_WAIT_SECONDS_MAX + _FETCH_SECONDS,
        ),
        Endpoint(
            method="GET",
            path="/openai/v1/models",
            handler=list_model_names,
            name="openaiListModels",
            summary="List the names of models, as OpenAI's API does",
            tag=_TAG,
            roles=ALL_ROLES,
        ),
        Endpoint(
            method="GET",
            path="/openai/v1/models/{id}",
            handler=show_model_name,
            name="openaiShowModel",
            summary="Show a model, as OpenAI's API does",
            tag=_TAG,
            roles=ALL_ROLES,
            not_found=lambda parts: ModelNotFound(parts["id"]),
        ),
    )
