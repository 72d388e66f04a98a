"""Names the images of a job by the URLs at which they are served when it is submitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.catalog.request_images import images_of
from shared.domain.job import Job
from worker.dependencies import Dependencies

YOUNG_SECONDS = 900.0
"""A job that has waited for less names its images as its caller did a moment ago."""
_LIST_FIELD, _SINGLE_FIELD = "image_urls", "mask_url"


@dataclass(frozen=True, slots=True)
class ServedImages:
    """The fields of a request with the present URLs of its uploaded images."""

    fields: Mapping[str, Any]
    fault: str | None = None
    """Why Kie cannot fetch an image, or None: Kie has deleted the file."""


async def find_served_images(deps: Dependencies, job: Job) -> ServedImages:
    """Return the fields of a job with the present URLs of its images.

    A job that was placed a moment ago costs no statement, unless it is a retry, which names the
    images of its first run.
    """
    waited_seconds = (deps.clock.now() - job.created_at).total_seconds()
    urls = images_of(job.request)
    if not urls or (waited_seconds < YOUNG_SECONDS and job.retry_of is None):
        return ServedImages(job.request)
    rows = await deps.queries.fetch("files_by_url", job.account_id, list(urls.values()))
    present: dict[str, str] = {}
    expired: dict[str, str] = {}
    for row in rows:
        names = [row["url"], *row["former_urls"]]
        (expired if row["is_expired"] else present).update(dict.fromkeys(names, row["url"]))
    for field, url in urls.items():
        if url in expired:
            return ServedImages(job.request, _describe_expired(field))
    if not present:
        return ServedImages(job.request)
    return ServedImages(_replaced(job.request, present))


def _replaced(request: Mapping[str, Any], present: Mapping[str, str]) -> dict[str, Any]:
    fields = dict(request)
    if isinstance(fields.get(_LIST_FIELD), list):
        fields[_LIST_FIELD] = [present.get(url, url) for url in fields[_LIST_FIELD]]
    if isinstance(fields.get(_SINGLE_FIELD), str):
        fields[_SINGLE_FIELD] = present.get(fields[_SINGLE_FIELD], fields[_SINGLE_FIELD])
    return fields


def _describe_expired(field: str) -> str:
    return (
        f"{field} is an uploaded file that Kie has deleted: upload it again and place a new job;"
        " nothing was sent to Kie"
    )
