"""The routes of copies of images."""

from __future__ import annotations

from collections.abc import Mapping

from producer.api.endpoint import OPERATOR_ROLES, Endpoint, Parameter
from producer.api.handlers import image_handlers
from producer.api.handlers.image_handlers import NUMBER_MAX
from producer.api.operator_routes import JOB_ID
from shared.errors import DarkroomError, NotFound

_NUMBER = {"number": {"type": "integer", "minimum": 1, "maximum": NUMBER_MAX}}


def _image_not_found(parts: Mapping[str, str]) -> DarkroomError:
    return NotFound(f"no image {parts['number'][:10]} of job {parts['id'][:80]} is kept")


IMAGE_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/jobs/{id}/images/{number}",
        handler=image_handlers.job_image,
        name="getJobImage",
        summary="Get an image of a job",
        tag="jobs",
        path_schemas={**JOB_ID, **_NUMBER},
        not_found=_image_not_found,
        parameters=(
            Parameter(
                "size",
                {"type": "string", "enum": [image_handlers.THUMBNAIL]},
                "a WebP of at most 256 by 256 pixels instead",
            ),
        ),
        responses={200: None, 302: None, 304: None},
        problems=(404, 422),
        is_download=True,
        description="The copy in the store of RESULTS_URL: its bytes, or a redirect to a bucket."
        " Redirects to Kie's link while there is no copy. Viewers need VIEWERS_SEE_PROMPTS.",
    ),
    Endpoint(
        method="POST",
        path="/v1/images/retry",
        handler=image_handlers.retry_images,
        name="retryImages",
        summary="Have failed copies of images tried again at once, and for another day",
        description="Those given up after a day, and those that wait for their next try. Nothing is"
        " generated or charged.",
        tag="jobs",
        roles=OPERATOR_ROLES,
        body="ManyImages",
        responses={200: "RetriedImages"},
        problems=(404, 422),
    ),
)
