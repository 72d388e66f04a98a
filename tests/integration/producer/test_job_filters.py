"""Lists and counts of jobs find exactly the jobs that match, for each filter and each pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, cycle
from typing import Any

import pytest

from producer import DatabaseRefused, Job, JobState, Producer
from producer.jobs.job_filter import FILTER_RULES, JobFilter
from shared.adapters.postgres.database import Database, translated_postgres_errors
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.producer.client_setup import open_account
from tests.support.deployment import image_to_image, text_to_image

LATE_TASK = "late-task"


@pytest.fixture
async def jobs(producer: Producer, database: Database) -> list[Job]:
    """Jobs of two accounts that differ in everything that is filtered by, oldest first."""
    setup = DatabaseSetup(database)
    for name in ("acme", "other"):
        await open_account(producer, name)
    made = []
    for index, state in enumerate((*JobState, *JobState)):
        account = "other" if index % 3 == 0 else "acme"
        made.append(
            await setup.job_in(
                state,
                request=image_to_image() if index % 4 == 0 else text_to_image(),
                account_id=account,
                priority=("normal", "high", "low")[index % 3],
                # Every third key is used by both accounts.
                idempotency_key=f"key-{index // 3 if index % 3 < 2 else index + 10}",
                run_at=datetime.now(UTC) + timedelta(days=index) if index % 7 == 0 else None,
                metadata=({}, {"order": 7}, {"order": "7"}, {"order": [7], "tag": True})[index % 4],
            )
        )
    failed = next(job for job in made if job.state is JobState.FAILED)
    await producer.retry(failed.id)
    await setup.sql(
        "INSERT INTO late_tasks (job_id, attempt, provider_task_id) VALUES ($1, 1, $2)",
        failed.id,
        LATE_TASK,
    )
    # A retry has the model and the metadata of its job, and comes last.
    listed = await producer.list(limit=100)
    return listed[::-1]


def matchers(jobs: list[Job]) -> Mapping[str, tuple[str, Callable[[Job], bool]]]:
    """Return for each filter a text, and which of the jobs match it."""
    failed = next(job for job in jobs if job.state is JobState.FAILED)
    middle = jobs[len(jobs) // 2].created_at
    return {
        "account_id": ("acme", lambda job: job.account_id == "acme"),
        "state": ("failed,queued", lambda job: job.state in {"failed", "queued"}),
        "reason": ("provider_failed", lambda job: job.reason == "provider_failed"),
        "model": ("gpt-4o-image", lambda job: job.model == "gpt-4o-image"),
        "task": ("image-to-image", lambda job: job.task == "image-to-image"),
        "priority": ("high", lambda job: job.priority == "high"),
        "created_from": (middle.isoformat(), lambda job: job.created_at >= middle),
        "created_to": (middle.isoformat(), lambda job: job.created_at < middle),
        "provider_task_id": (LATE_TASK, lambda job: job.id == failed.id),
        "idempotency_key": ("key-1", lambda job: job.idempotency_key == "key-1"),
        "metadata": ("order=7", lambda job: job.metadata.get("order") in (7, "7")),
        "retried": ("true", lambda job: job.id == failed.id),
        "scheduled": ("true", lambda job: job.is_scheduled(datetime.now(UTC))),
        "id": (str(failed.id), lambda job: job.id == failed.id),
    }


async def test_every_filter_and_every_pair_finds_what_matches_newest_first(
    producer: Producer, jobs: list[Job]
) -> None:
    rules = matchers(jobs)
    assert list(rules) == list(FILTER_RULES)
    for names in (*combinations(rules, 1), *combinations(rules, 2)):
        where = JobFilter.from_texts({name: rules[name][0] for name in names})
        wanted = [job for job in jobs[::-1] if all(rules[name][1](job) for name in names)]
        assert await producer.list(where, limit=100) == wanted, names
        counted = {(one.state, one.reason): one.jobs for one in await producer.count(where)}
        assert counted == Counter((job.state, job.reason) for job in wanted), names
    assert all(any(map(matches, jobs)) for _, matches in rules.values())


@pytest.mark.parametrize(
    "texts",
    [
        {"priority": "normal"},
        {"priority": "low", "state": "queued"},
        {"provider_task_id": "nobody's"},
        {"metadata": "order=8"},
        {"metadata": "tag=true"},
        {"model": "another"},
        {"created_from": "0001-01-01T00:00:00+00:00", "created_to": "9999-12-31T23:59:59+00:00"},
    ],
)
async def test_pages_of_a_filter_have_each_job_once(
    producer: Producer, jobs: list[Job], texts: dict[str, str]
) -> None:
    where = JobFilter.from_texts(texts)
    found = []
    below = None
    while True:
        page = await producer.page(where, limit=2, below=below)
        found += page.jobs
        below = page.next_below
        if below is None:
            break
    assert found == await producer.list(where, limit=100)
    assert len({job.id for job in found}) == len(found)


TICK = timedelta(microseconds=1)
CLOCK_DIFFERENCES = [
    timedelta(seconds=sign * seconds)
    for seconds in (0, 4, 5, 5.0004, 6, 540, 600, 601, 90_000)
    for sign in (-1, 1)
]


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"state": "queued,failed"},
        {"account_id": "acme"},
        {"task": "text-to-image"},
        {"retried": "false"},
        {"idempotency_key": "key-1"},
    ],
)
async def test_no_clock_of_a_program_hides_a_job_from_its_time(
    producer: Producer, database: Database, jobs: list[Job], texts: dict[str, str]
) -> None:
    """An id begins with the time of the program that made it, `created_at` is Postgres's."""
    moved = []
    for job, difference in zip(jobs, cycle(CLOCK_DIFFERENCES), strict=False):
        at = job.created_at + difference
        await database.pool.execute("UPDATE jobs SET created_at = $2 WHERE id = $1", job.id, at)
        moved.append(replace(job, created_at=at))
    matches = {job.id for job in await producer.list(JobFilter.from_texts(texts), limit=100)}
    newest_first = [job for job in sorted(moved, key=lambda job: job.id)[::-1] if job.id in matches]
    for at in {job.created_at for job in newest_first}:
        for since, until in ((at, None), (None, at + TICK), (at, at + TICK)):
            where = replace(JobFilter.from_texts(texts), created_from=since, created_to=until)
            found = [
                job
                for job in newest_first
                if (since is None or job.created_at >= since)
                and (until is None or job.created_at < until)
            ]
            assert await producer.list(where, limit=100) == found
            assert await producer.list(where, limit=2) == found[:2]
            assert sum(one.jobs for one in await producer.count(where)) == len(found)


async def test_account_and_state_narrow_a_given_filter(producer: Producer, jobs: list[Job]) -> None:
    found = await producer.list(
        JobFilter(account_id="other", priority="normal"), account_id="acme", state="failed"
    )
    assert found == await producer.list(
        JobFilter(account_id="acme", priority="normal", state="failed")
    )


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ('{"acount_id": "acme"}', "acount_id is no filter of jobs; allowed: account_id"),
        ('{"state": "failed"}', "state must be an array"),
    ],
)
async def test_in_sql_a_filter_with_a_slip_is_refused_and_does_not_match_every_job(
    database: Database, wanted: str, sentence: str
) -> None:
    for function in ("darkroom_find_jobs", "darkroom_count_jobs"):
        with pytest.raises(DatabaseRefused, match=sentence), translated_postgres_errors():
            await database.pool.fetch(f"SELECT {function}($1::text::jsonb)", wanted)


async def test_a_job_by_its_columns_matches_as_the_list_says(
    database: Database, jobs: list[Job]
) -> None:
    rows: list[Any] = await database.pool.fetch(
        'SELECT id FROM jobs WHERE darkroom_job_matches(jobs, \'{"state": ["failed"]}\')'
    )
    assert {row["id"] for row in rows} == {job.id for job in jobs if job.state == "failed"}
