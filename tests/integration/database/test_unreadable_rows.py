"""A row that cannot be read does not prevent other jobs from being read, shown or run."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from producer import InvalidRequest, JobState
from producer.orders.order import Order
from shared.adapters.postgres.job_rows import jobs_from_rows
from shared.stored_json import MAX_JSON_DEPTH, UNREADABLE_KEY, exceeds_depth, read_stored_json
from tests.support.deployment import Deployment, eventually, text_to_image
from worker.store.job_store import JobStore

_NUMBERS = count(1)
HUGE_NUMBER = '{"n": 1e400}'
BAD_METADATA = {
    "a number beyond every float": HUGE_NUMBER,
    "an integer of 5,000 digits": '{"n": ' + "9" * 5_000 + "}",
    "too deep to write": '{"n": ' + "[" * 250 + "]" * 250 + "}",
    "too deep to read": '{"n": ' + "[" * 3_000 + "]" * 3_000 + "}",
    "a text": '"{"',
    "a list": "[1, 2]",
    "null": "null",
}


async def stored(deployment: Deployment, jobs: int, column: str, text: str) -> list[str]:
    """Store jobs, the first with this JSON in that column. Return their ids."""
    requests = [text_to_image(f"picture {next(_NUMBERS)}") for _ in range(jobs)]
    enqueued = await deployment.producer.enqueue_many(
        [Order(request=request, account_id="acme") for request in requests]
    )
    await deployment.run_sql(
        f"UPDATE jobs SET {column} = ($2::text)::jsonb WHERE id = $1",
        enqueued[0].id,
        text,
    )
    return [str(job.id) for job in enqueued]


@pytest.mark.parametrize("text", BAD_METADATA.values(), ids=BAD_METADATA.keys())
async def test_a_list_shows_the_fault_of_one_job_and_all_the_others(
    deployment: Deployment, text: str
) -> None:
    ids = await stored(deployment, 20, "metadata", text)
    with capture_logs() as lines:
        listed = await deployment.producer.list(account_id="acme")
        assert (await deployment.producer.get(ids[0])).metadata.keys() == {UNREADABLE_KEY}
        async with deployment.api() as client:
            shown = (await client.get("/v1/jobs", account_id="acme")).expect(200)["jobs"]
            assert (await client.get(f"/v1/jobs/{ids[0]}")).expect(200)["id"] == ids[0]
    assert sorted(str(job.id) for job in listed) == sorted(ids)
    faults = [job for job in listed if UNREADABLE_KEY in job.metadata]
    assert [str(job.id) for job in faults] == ids[:1]
    assert [one["metadata"].keys() for one in shown if one["id"] == ids[0]] == [{UNREADABLE_KEY}]
    assert len(shown) == 20
    said = [line for line in lines if line["event"] == "job_json_unreadable"]
    assert [line["job_id"] for line in said] == ids[:1], "logged once"


async def test_a_job_with_unreadable_notes_runs_and_one_with_an_unreadable_request_waits(
    deployment: Deployment,
) -> None:
    notes = await stored(deployment, 10, "metadata", HUGE_NUMBER)
    requests = await stored(deployment, 10, "request", HUGE_NUMBER)
    nonsense = await stored(deployment, 10, "request", '{"prompt": {"is": ["no", "text"]}}')
    bad = {requests[0], nonsense[0]}
    good = [job_id for job_id in (*notes, *requests, *nonsense) if job_id not in bad]

    async def have_succeeded() -> bool:
        rows = await deployment.run_sql("SELECT id FROM jobs WHERE state = 'succeeded'")
        return {str(row["id"]) for row in rows} == set(good)

    async with deployment.worker():
        await eventually(have_succeeded, "all the others succeed")
    for job_id in bad:
        job = await deployment.producer.get(job_id)
        assert (job.state, job.attempt) == (JobState.QUEUED, 0)
        await deployment.producer.cancel(job_id)
    await deployment.check_invariants_hold()
    deployment.check_paid_once()


async def test_one_value_that_the_driver_cannot_read_fails_its_own_job_alone(
    deployment: Deployment,
) -> None:
    enqueued = await deployment.producer.enqueue_many(
        [Order(request=text_to_image(f"picture {n}"), account_id="acme") for n in range(200)]
    )
    ids = [job.id for job in enqueued]
    await deployment.run_sql("UPDATE jobs SET due_at = '20000-01-01' WHERE id = $1", ids[77])
    store = JobStore(deployment.database)
    outcomes = await asyncio.gather(*map(store.load, ids), return_exceptions=True)
    failed = [place for place, one in enumerate(outcomes) if isinstance(one, Exception)]
    assert failed == [77]


async def test_a_job_of_a_state_that_this_version_does_not_know_is_left_out(
    deployment: Deployment,
) -> None:
    await stored(deployment, 3, "metadata", "{}")
    rows: Any = await deployment.run_sql("SELECT * FROM jobs ORDER BY id")
    rows[1]["state"] = "archived"
    with capture_logs() as lines:
        shown = [jobs_from_rows(rows) for _ in range(2)]
    assert [[job.id for job in jobs] for jobs in shown] == [[rows[0]["id"], rows[2]["id"]]] * 2
    assert [line["event"] for line in lines] == ["job_row_unreadable"], "logged once"


def test_depth_is_counted_by_what_is_inside() -> None:
    assert not exceeds_depth([[1]], 2)
    assert exceeds_depth([[[1]]], 2)
    assert not exceeds_depth({"a": [1], "b": {"c": {}}}, 3)
    flat = orjson.dumps([[number] for number in range(1_000)]).decode()
    assert read_stored_json(flat) == [[number] for number in range(1_000)]
    deepest = "[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH
    assert read_stored_json(deepest) == orjson.loads(deepest)
    assert read_stored_json(f"[{deepest}]").keys() == {UNREADABLE_KEY}


@pytest.mark.parametrize("levels", [MAX_JSON_DEPTH, 250])
async def test_notes_that_could_not_be_shown_are_refused(
    deployment: Deployment, levels: int
) -> None:
    notes = orjson.loads('{"n": ' + "[" * levels + "]" * levels + "}")
    with pytest.raises(InvalidRequest, match="nested deeper than 100 levels"):
        await deployment.enqueue(metadata=notes)
