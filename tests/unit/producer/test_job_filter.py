"""The filters of jobs: one list, one text form, and one description for every interface."""

from __future__ import annotations

import inspect
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from producer.api.routes import ENDPOINTS
from producer.cli.commands.jobs import counts, list_jobs
from producer.jobs.job_filter import FILTER_RULES, JobFilter
from shared.domain.lifecycle import JobState
from shared.errors import InvalidRequest

JOB_ID = "0198c0de-0000-7000-8000-000000000001"
TEXTS = {
    "account_id": "acme",
    "state": "failed,cancelled",
    "reason": "content_policy",
    "model": "gpt-4o-image",
    "task": "text-to-image",
    "priority": "high",
    "created_from": "2026-01-31T18:00:00+00:00",
    "created_to": "2026-02-01T00:00:00+00:00",
    "provider_task_id": "task-1",
    "idempotency_key": "order-1042",
    "metadata": "order=1042",
    "retried": "false",
    "scheduled": "true",
    "id": JOB_ID,
}


def test_every_filter_has_a_text_that_is_read_and_written_back() -> None:
    assert list(TEXTS) == [one.name for one in fields(JobFilter)] == list(FILTER_RULES)
    assert JobFilter.from_texts(TEXTS).to_texts() == TEXTS
    assert JobFilter().to_texts() == {}


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2026-02-01T00:30:00+01:00", "2026-01-31T23:30:00+00:00"),
        # Postgres reads no such timezone.
        ("0282-06-03T23:03:49+18:54", "0282-06-03T04:09:49+00:00"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:00:00-10:00", "9999-12-31T23:00:00+00:00"),
    ],
)
def test_a_moment_is_stored_in_utc(text: str, stored: str) -> None:
    assert JobFilter(created_from=text).to_texts() == {"created_from": stored}


def test_values_and_texts_make_the_same_filter() -> None:
    by_value = JobFilter(
        state=(JobState.CANCELLED, JobState.FAILED),
        created_from=datetime(2026, 1, 31, 18, tzinfo=UTC),
        metadata=("order", "1042"),
        retried=False,
        id=UUID(JOB_ID),
    )
    names = ("state", "created_from", "metadata", "retried", "id")
    assert by_value == JobFilter.from_texts({name: TEXTS[name] for name in names})
    assert JobFilter(state=JobState.FAILED) == JobFilter(state="failed")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("state", "faild"),
        ("state", "failed,"),
        ("reason", "too slow"),
        ("priority", "urgent"),
        ("created_from", "2026-01-31T18:00:00"),
        ("created_to", "tomorrow"),
        ("metadata", "order"),
        ("metadata", "=1042"),
        ("retried", "True"),
        ("id", "12"),
        ("account_id", "a" * 201),
        ("provider_task_id", "a\0b"),
        ("idempotency_key", "\ud800"),
        ("model", ""),
        ("task", 7),
        ("acount_id", "acme"),
    ],
)
def test_a_filter_that_cannot_match_what_is_meant_is_refused_by_its_name(
    name: str, text: Any
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        JobFilter.from_texts({"account_id": "acme", name: text})
    assert [fault.field for fault in caught.value.faults] == [name]


def test_all_faults_of_a_filter_are_reported_together() -> None:
    with pytest.raises(InvalidRequest) as caught:
        JobFilter.from_texts({"staet": "failed", "state": "faild", "retried": "no"})
    assert [fault.field for fault in caught.value.faults] == ["staet", "state", "retried"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("order=1042", [{"order": "1042"}, {"order": 1042}]),
        ("order=x=y", [{"order": "x=y"}]),
        ("paid=true", [{"paid": "true"}, {"paid": True}]),
        ("note=", [{"note": ""}]),
        ("size=1e308", [{"size": "1e308"}, {"size": 1e308}]),
        ("size=1e999", [{"size": "1e999"}]),
        ("size=007", [{"size": "007"}]),
    ],
)
def test_a_value_of_metadata_is_looked_for_as_text_and_as_what_json_writes_so(
    text: str, meant: list[dict[str, Any]]
) -> None:
    assert orjson.loads(JobFilter(metadata=text).to_json()) == {"metadata": meant}


@pytest.mark.parametrize("command", [list_jobs, counts])
def test_the_command_line_has_an_option_for_each_filter(command: Any) -> None:
    assert set(inspect.signature(command).parameters) >= set(FILTER_RULES)


@pytest.mark.parametrize("name", ["listJobs", "countJobs"])
def test_http_has_a_parameter_for_each_filter(name: str) -> None:
    (endpoint,) = [one for one in ENDPOINTS if one.name == name]
    assert {one.name for one in endpoint.parameters} >= set(FILTER_RULES)
