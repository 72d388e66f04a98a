"""The images of a job: what a page says of each, and the copies that this server shows of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web

from producer.api.handlers.image_handlers import THUMBNAIL, read_number, send_copy
from producer.api.responses.http_errors import Forbidden
from producer.console.page import CONSOLE, PageCall
from producer.console.text_filters import format_ago, format_bytes
from shared.domain.job import Job, JobImage
from shared.errors import NotFound

_KIE_KEEPS = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image as the page of its job shows it."""

    label: str
    url: str
    """Where callers get it."""
    kie_url: str
    """Kie's own link."""
    page_url: str | None
    """Where this console has it. None if it has no copy."""
    facts: str
    """Its dimensions, type and size. Empty until it is stored."""
    kept: str
    """Where it is, and until when."""

    @property
    def thumbnail(self) -> str | None:
        """A small picture of it in this console, or None."""
        return None if self.page_url is None else f"{self.page_url}?size={THUMBNAIL}"


async def send_image(call: PageCall) -> web.StreamResponse:
    """Send the copy of an image, or its thumbnail."""
    if not call.sees_prompts:
        raise Forbidden("a viewer does not see images: VIEWERS_SEE_PROMPTS is not set")
    job = await call.producer.get(call.part("id"))
    number = read_number(call.part("number"))
    image = await call.producer.stored_images.find(job.id, number)
    if not image.is_stored:
        raise NotFound(f"image {number} of job {job.id} is not copied yet")
    small = call.query("size") == THUMBNAIL
    return await send_copy(call.request, call.context.api, image, as_thumbnail=small)


def list_images(job: Job, *, has_store: bool, now: datetime) -> list[ShownImage]:
    """Return the images of a job as far as it has any, those that came late at the end."""
    urls = [*job.result_urls, *(job.late_result_urls or ())]
    known = dict(enumerate(job.images, start=1))
    return [
        _show(job, number, url, known.get(number), has_store=has_store, now=now)
        for number, url in enumerate(urls, start=1)
    ]


def thumbnail_of(job: Job, *, has_store: bool) -> str | None:
    """Return the path of a small picture of a job, or None if this console has no copy."""
    has_copy = has_store and job.images and _is_kept(job.images[0])
    return f"{_path(job, 1)}?size={THUMBNAIL}" if has_copy else None


def _show(
    job: Job, number: int, url: str, image: JobImage | None, *, has_store: bool, now: datetime
) -> ShownImage:
    own = len(job.result_urls)
    late = f"Late image {number - own}, free of charge"
    return ShownImage(
        label=f"Image {number}" if number <= own else late,
        url=url,
        kie_url=url if image is None else image.kie_url,
        page_url=_path(job, number) if has_store and image and _is_kept(image) else None,
        facts="" if image is None else _facts(image),
        kept=_kept_by_kie(job, now) if image is None else _kept(image, now),
    )


def _path(job: Job, number: int) -> str:
    return f"{CONSOLE}/jobs/{job.id}/images/{number}"


def _is_kept(image: JobImage) -> bool:
    """Return whether there is a copy, which was not pruned."""
    return image.is_stored and image.expires_at is None


def _facts(image: JobImage) -> str:
    if not image.is_stored:
        return ""
    kind = (image.content_type or "").rpartition("/")[2].upper()
    return f"{image.width} \u00d7 {image.height} \u00b7 {kind} \u00b7 {format_bytes(image.bytes)}"


def _kept(image: JobImage, now: datetime) -> str:
    if image.is_stored and image.expires_at is None:
        return "Kept in the store until it is pruned"
    if image.expires_at is None:
        return "Not copied yet"
    day = f"{image.expires_at:%Y-%m-%d}"
    if image.is_stored:
        return f"Deleted from the store on {day}"
    if image.expires_at <= now:
        return f"Never copied; Kie kept it until {day}"
    return f"Not copied yet; at Kie until {day} ({format_ago(image.expires_at, now)})"


def _kept_by_kie(job: Job, now: datetime) -> str:
    if job.finished_at is None:
        return "At Kie, for 14 days"
    end = job.finished_at + _KIE_KEEPS
    if end <= now:
        return f"At Kie until about {end:%Y-%m-%d}, which is past"
    return f"At Kie until about {end:%Y-%m-%d} ({format_ago(end, now)})"
