"""Turns rows of `jobs` into `Job`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import structlog

from shared.domain.job import ESTIMATED, Job, JobImage
from shared.domain.lifecycle import JobState
from shared.stored_json import UNREADABLE_KEY, read_stored_object

log = structlog.get_logger(__name__)

_LOGGED_MAX = 10_000
_logged_job_ids: set[UUID] = set()
"""The jobs whose unreadable rows were logged."""


def job_from_row(row: asyncpg.Record) -> Job:
    """Return the job of a row of `jobs`, with the account of its attempt if the row has it."""
    job_id = row["id"]
    values = [row[name] for name in _COLUMNS]
    values[_ESTIMATED:_ESTIMATED] = _NOT_ESTIMATED
    values.append(row.get("provider_account"))
    for index, convert in _CONVERTED_COLUMNS:
        values[index] = convert(values[index], job_id)
    if values[_IMAGES]:
        urls = {image.kie_url: image.url for image in values[_IMAGES]}
        for index in _URL_COLUMNS:
            if values[index]:
                values[index] = tuple(urls.get(url, url) for url in values[index])
    return Job(*values)


def jobs_from_rows(rows: Iterable[asyncpg.Record]) -> list[Job]:
    """Return the jobs of these rows. Unreadable rows are skipped and logged once."""
    jobs = []
    for row in rows:
        try:
            jobs.append(job_from_row(row))
        except (ValueError, TypeError, KeyError) as error:
            if _is_first_log(row["id"]):
                log.error("job_row_unreadable", job_id=str(row["id"]), error=repr(error))
    return jobs


def read_json_object(value: Any, job_id: UUID) -> Mapping[str, Any]:
    """Read a JSON object of a job. An unreadable value is logged once and replaced.

    The value is text on a caller's connection, which has no codec for jsonb.
    """
    read = read_stored_object(value)
    if UNREADABLE_KEY in read and _is_first_log(job_id):
        log.error("job_json_unreadable", job_id=str(job_id), error=read[UNREADABLE_KEY])
    return read


def _is_first_log(job_id: UUID) -> bool:
    if job_id in _logged_job_ids:
        return False
    if len(_logged_job_ids) >= _LOGGED_MAX:
        _logged_job_ids.clear()
    _logged_job_ids.add(job_id)
    return True


def _uuid(value: UUID, _: UUID) -> UUID:
    # The driver's UUID is a subclass, which is slower to compare.
    return UUID(int=value.int)


def _state(value: str, _: UUID) -> JobState:
    return JobState(value)


def _urls(value: Sequence[str] | None, _: UUID) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def _images(value: Any, job_id: UUID) -> tuple[JobImage, ...]:
    """Read `jobs.images`, which is text on a caller's connection."""
    if value in ([], "[]"):
        return ()
    found = orjson.loads(value) if isinstance(value, str | bytes) else value
    return tuple(_image(one) for one in found)


def _image(value: Mapping[str, Any]) -> JobImage:
    expires_at = value["expires_at"]
    return JobImage(
        **{
            **value,
            "expires_at": None if expires_at is None else datetime.fromisoformat(expires_at),
        }
    )


_CONVERTERS: dict[str, Callable[[Any, UUID], Any]] = {
    "UUID": _uuid,
    "JobState": _state,
    "Mapping[str, Any]": read_json_object,
    "tuple[str, ...]": _urls,
    "tuple[str, ...] | None": _urls,
    "tuple[JobImage, ...]": _images,
}
"""By type of a field. Values of other types are used as the driver returns them."""
_NAMES = tuple(one.name for one in fields(Job))
_COLUMNS = tuple(name for name in _NAMES if name not in {*ESTIMATED, "provider_account"})
_ESTIMATED = _NAMES.index(ESTIMATED[0])
_NOT_ESTIMATED = (None,) * len(ESTIMATED)
_IMAGES = _NAMES.index("images")
_URL_COLUMNS = (_NAMES.index("result_urls"), _NAMES.index("late_result_urls"))
"""Callers see where the copies are. The rows keep Kie's links."""
_CONVERTED_COLUMNS = tuple(
    (index, _CONVERTERS[str(one.type)])
    for index, one in enumerate(fields(Job))
    if one.type in _CONVERTERS
)
