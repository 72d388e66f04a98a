"""What the page of a job says of each image: its size, where it is kept, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from producer.console.pages.job_images import list_images, thumbnail_of
from producer.console.text_filters import format_bytes
from shared.domain.job import JobImage, replace_fields
from shared.domain.lifecycle import JobState
from tests.support.example_jobs import example_job

NOW = datetime(2030, 6, 15, 12, 0, tzinfo=UTC)
KIE_URL, COPY_URL = "https://kie.example/1.png", "https://darkroom.example/v1/jobs/1/images/1"


def waiting(expires_at: datetime) -> JobImage:
    return JobImage(KIE_URL, None, None, None, None, None, KIE_URL, expires_at)


def stored(pruned_at: datetime | None = None) -> JobImage:
    return JobImage(COPY_URL, 1536, 1024, 2_481_733, "image/jpeg", "9f" * 32, KIE_URL, pruned_at)


@pytest.mark.parametrize(
    ("image", "facts", "kept"),
    [
        (stored(), "1536 \u00d7 1024 · JPEG · 2.5 MB", "Kept in the store until it is pruned"),
        (
            stored(NOW - timedelta(days=2)),
            "1536 \u00d7 1024 · JPEG · 2.5 MB",
            "Deleted from the store on 2030-06-13",
        ),
        (
            waiting(NOW + timedelta(days=13)),
            "",
            "Not copied yet; at Kie until 2030-06-28 (in 13 d)",
        ),
        (waiting(NOW - timedelta(days=1)), "", "Never copied; Kie kept it until 2030-06-14"),
        (None, "", "At Kie until about 2030-06-29 (in 14 d)"),
    ],
)
def test_an_image_says_where_it_is_kept(image: JobImage | None, facts: str, kept: str) -> None:
    job = replace_fields(
        example_job(state=JobState.SUCCEEDED),
        result_urls=(KIE_URL if image is None else image.url,),
        images=() if image is None else (image,),
        finished_at=NOW,
    )
    [shown] = list_images(job, has_store=True, now=NOW)
    assert (shown.label, shown.facts, shown.kept) == ("Image 1", facts, kept)
    has_copy = image is not None and image.is_stored and image.expires_at is None
    assert (shown.thumbnail is not None) == has_copy
    assert thumbnail_of(job, has_store=True) == shown.thumbnail
    assert thumbnail_of(job, has_store=False) is None


def test_late_images_come_at_the_end_and_are_free() -> None:
    job = replace_fields(
        example_job(state=JobState.FAILED), result_urls=(), late_result_urls=(KIE_URL, KIE_URL)
    )
    labels = [one.label for one in list_images(job, has_store=True, now=NOW)]
    assert labels == ["Late image 1, free of charge", "Late image 2, free of charge"]


@pytest.mark.parametrize(
    ("count", "text"), [(None, "\u2013"), (9, "1 kB"), (81_400, "81 kB"), (26_214_400, "26.2 MB")]
)
def test_a_size_is_told_in_kilobytes_or_megabytes(count: int | None, text: str) -> None:
    assert format_bytes(count) == text
