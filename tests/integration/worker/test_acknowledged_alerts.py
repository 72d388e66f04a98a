"""A person acknowledges an alert: its evidence in Redis is deleted, and who did it is recorded."""

from __future__ import annotations

from typing import Any, cast

import pytest

from producer import InvalidRequest
from producer.monitoring.alert_evidence import AlertEvidence, lost_writes_to_json
from shared.adapters.monitoring.alert_queries import read_redis_state
from shared.adapters.postgres.database import Database
from shared.adapters.redis.lost_write_log import EventPosition, LostJob, LostWriteLog
from shared.errors import PostgresDown
from shared.redis_keys import WIPED_KEY
from tests.integration.worker.worker_setup import WorkerSetup

GONE = EventPosition(7, "2026-11-28 17:30:00.12345+00")
ENTRIES = "SELECT * FROM audit_entries WHERE act = 'alert_acknowledged' ORDER BY id"


async def _lost(setup: WorkerSetup) -> LostWriteLog:
    log = LostWriteLog(setup.redis)
    await log.add_jobs(
        [LostJob("job-1", "t1", "default", is_known=True), LostJob("job-2", None, None)]
    )
    await log.add_missing_event(GONE, None)
    return log


async def test_lost_writes_are_read_and_acknowledged_once(setup: WorkerSetup) -> None:
    evidence = setup.producer.alert_evidence
    await _lost(setup)
    assert (await read_redis_state(setup.redis, ["default"])).lost_writes == 3
    assert lost_writes_to_json(await evidence.lost_writes()) == {
        "jobs": [
            {"job_id": "job-1", "task_id": "t1", "kie_account": "default", "is_known": True},
            {"job_id": "job-2", "task_id": None, "kie_account": None, "is_known": False},
        ],
        "missing_events": [
            {
                "event_id": 7,
                "at": "2026-11-28T17:30:00.123450+00:00",
                "newest_event_id": None,
                "newest_at": None,
            }
        ],
    }
    done = await evidence.acknowledge("writes_lost", actor="maria")
    assert (done.acknowledged, done.left) == (3, 0)
    again = await evidence.acknowledge("writes_lost", actor="maria")
    assert (again.acknowledged, again.left) == (0, 0)
    assert (await read_redis_state(setup.redis, ["default"])).lost_writes == 0
    (entry,) = await setup.sql(ENTRIES)
    assert (entry["actor"], entry["subject"]) == ("maria", "alert writes_lost")
    assert "job-2" in str(entry["before"])


async def test_evidence_that_is_newer_than_what_was_seen_stays(setup: WorkerSetup) -> None:
    log = await _lost(setup)
    seen = await log.read()
    await log.add_jobs([LostJob("job-2", "t2", "default"), LostJob("job-3", None, None)])
    done = await setup.producer.alert_evidence.acknowledge("writes_lost", seen=seen)
    assert (done.acknowledged, done.left) == (2, 2)
    left = await log.read()
    assert [(one.job_id, one.task_id) for one in left.jobs] == [("job-2", "t2"), ("job-3", None)]
    assert not left.missing_events


async def test_more_evidence_than_one_call_deletes_is_deleted_and_recorded_in_part(
    setup: WorkerSetup,
) -> None:
    log = LostWriteLog(setup.redis)
    await log.add_jobs([LostJob(f"job-{number}", None, None) for number in range(1_001)])
    done = await setup.producer.alert_evidence.acknowledge("writes_lost")
    assert (done.acknowledged, done.left) == (1_001, 0)
    (entry,) = await setup.sql(
        "SELECT before -> 'jobs_in_all' AS jobs, jsonb_array_length(before -> 'jobs') AS named"
        " FROM audit_entries WHERE act = 'alert_acknowledged'"
    )
    assert (str(entry["jobs"]), entry["named"]) == ("1001", 100)


async def test_a_wipe_is_acknowledged_once(setup: WorkerSetup) -> None:
    evidence = setup.producer.alert_evidence
    await setup.redis.set(WIPED_KEY, 1_700_000_000_000)
    assert (await evidence.acknowledge("redis_was_wiped", actor="maria")).acknowledged == 1
    assert (await evidence.acknowledge("redis_was_wiped", actor="maria")).acknowledged == 0
    assert not await setup.redis.exists(WIPED_KEY)
    (entry,) = await setup.sql(ENTRIES)
    assert (entry["actor"], entry["subject"]) == ("maria", "alert redis_was_wiped")
    assert "2023-11-14T22:13:20+00:00" in str(entry["before"])


class _SlowDatabase:
    """Postgres, during whose answer Redis is wiped once more."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._setup = setup

    async def fetch(self, name: str, *args: Any) -> list[Any]:
        await self._setup.redis.set(WIPED_KEY, 1_700_000_060_000)
        return await self._setup.database.fetch(name, *args)


async def test_a_wipe_that_comes_meanwhile_is_not_acknowledged_with_the_first(
    setup: WorkerSetup,
) -> None:
    await setup.redis.set(WIPED_KEY, 1_700_000_000_000)
    slow = cast("Database", _SlowDatabase(setup))
    done = await AlertEvidence(slow, setup.deps.delivery_queue).acknowledge("redis_was_wiped")
    assert (done.acknowledged, done.left) == (0, 1)
    assert await setup.redis.get(WIPED_KEY) == b"1700000060000"


async def test_no_other_alert_is_acknowledged(setup: WorkerSetup) -> None:
    with pytest.raises(InvalidRequest, match="'jobs_fail' must be one of redis_was_wiped, writes"):
        await setup.producer.alert_evidence.acknowledge("jobs_fail")


class _SilentDatabase:
    """Postgres, which does not answer."""

    async def fetch(self, name: str, *args: Any) -> list[Any]:
        raise PostgresDown(f"no answer to {name} with {len(args)} arguments")


@pytest.mark.parametrize("name", ["redis_was_wiped", "writes_lost"])
async def test_no_evidence_is_deleted_before_the_audit_has_it(
    setup: WorkerSetup, name: str
) -> None:
    await setup.redis.set(WIPED_KEY, 1_700_000_000_000)
    log = await _lost(setup)
    evidence = AlertEvidence(cast("Database", _SilentDatabase()), setup.deps.delivery_queue)
    with pytest.raises(PostgresDown):
        await evidence.acknowledge(name)
    assert await log.count() == 3
    assert await setup.redis.exists(WIPED_KEY)
