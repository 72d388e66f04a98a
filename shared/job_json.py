"""Turns a `Job` into the JSON object of the public contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from shared.domain.job import Job, JobImage, PublicJobFields

_INTEGER_MAX = 2**63 - 1
"""Larger numbers are written as floats."""
_FLOAT_MAX = Decimal(10) ** 308


def credits_to_json(credits: Decimal | None) -> int | float | None:
    """Return credits as a JSON number. Whole amounts are integers.

    NaN and infinity become None, because JSON has no such numbers.
    """
    if credits is None or not credits.is_finite():
        return None
    if abs(credits) > _INTEGER_MAX:
        return float(credits) if abs(credits) < _FLOAT_MAX else None
    return int(credits) if credits == credits.to_integral_value() else float(credits)


def timestamp_to_json(time: datetime | None) -> str | None:
    """Return a time as RFC 3339 text in UTC, or None."""
    return in_utc(time).isoformat().replace("+00:00", "Z") if time else None


def in_utc(time: datetime) -> datetime:
    """Return the time in UTC. Postgres's `infinity` has no zone, and stays as it is."""
    return time if time.tzinfo is None or time.tzinfo is UTC else time.astimezone(UTC)


def job_to_json(job: Job) -> dict[str, Any]:
    """Return the job object of the public API."""
    return {
        name: getattr(job, name) if convert is None else convert(getattr(job, name))
        for name, convert in _JSON_FIELDS
    }


def _list_or_none(urls: tuple[str, ...] | None) -> list[str] | None:
    return None if urls is None else list(urls)


def _list_images(images: tuple[JobImage, ...]) -> list[dict[str, Any]]:
    return [
        {**asdict(image), "expires_at": timestamp_to_json(image.expires_at)} for image in images
    ]


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "UUID": str,
    "JobState": str,
    "Mapping[str, Any]": dict,
    "tuple[str, ...]": list,
    "tuple[str, ...] | None": _list_or_none,
    "tuple[JobImage, ...]": _list_images,
    "Decimal": credits_to_json,
    "Decimal | None": credits_to_json,
    "datetime": timestamp_to_json,
    "datetime | None": timestamp_to_json,
}
"""By type of a field. Values of other types are JSON values already."""
_JSON_FIELDS = tuple((one.name, _CONVERTERS.get(str(one.type))) for one in fields(PublicJobFields))
JOB_FIELDS = tuple(name for name, _ in _JSON_FIELDS)
"""The fields of the job object, in order."""
