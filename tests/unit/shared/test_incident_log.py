"""The incident log writes a line for each change, not for each failure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from shared.adapters.monitoring.incident_log import EXPIRY_SECONDS, FIXES, POSTGRES, IncidentLog
from shared.errors import DatabaseRefused, PostgresDown, RedisDown

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def incidents(clock: Clock) -> IncidentLog:
    return IncidentLog(monotonic=clock.monotonic, now=clock.now, calm_seconds=8.0)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as logs:
        yield logs


def changes(lines: list[Any]) -> list[str]:
    return [line["change"] for line in lines]


async def test_two_short_outages_with_thousands_of_tries_are_four_lines(
    incidents: IncidentLog, clock: Clock, lines: list[Any]
) -> None:
    for _ in range(2):
        for _ in range(1_700):
            incidents.record_outage(
                PostgresDown("Postgres does not answer: refused"), doing="submit_job"
            )
            clock.seconds += 0.01
        clock.seconds += 8
        incidents.record_recovery("postgres")
        clock.seconds += 30
    assert changes(lines) == ["began", "over", "began", "over"]
    first, end = lines[0], lines[1]
    assert (first["event"], first["subject"], first["log_level"]) == (
        *("dependency_down", "postgres"),
        "warning",
    )
    assert first["error"] == "Postgres does not answer: refused"
    assert first["since"] == "2026-11-27T12:00:00Z"
    assert first["fix"] == FIXES[POSTGRES]
    assert (end["times"], end["seconds"], end["by"]) == (1_700, 25.0, {"submit_job": 1_700})


async def test_a_lasting_failure_is_reported_once_a_minute_with_its_count(
    incidents: IncidentLog, clock: Clock, lines: list[Any]
) -> None:
    for _ in range(301):
        incidents.record_outage(RedisDown("Redis does not answer: away"), doing="claim")
        clock.seconds += 0.5
    assert changes(lines) == ["began", "still", "still"]
    assert [line.get("times") for line in lines] == [None, 121, 241]
    assert {line["since"] for line in lines} == {"2026-11-27T12:00:00Z"}


async def test_other_words_of_the_same_failure_are_reported_once(
    incidents: IncidentLog, clock: Clock, lines: list[Any]
) -> None:
    for _ in range(10):
        for words in ("connection refused", "the database system is starting up"):
            incidents.record_outage(PostgresDown(words), doing="load")
            clock.seconds += 0.1
    assert changes(lines) == ["began", "changed"]
    assert lines[1]["error"] == "the database system is starting up"


async def test_numbers_and_addresses_make_no_other_words(
    incidents: IncidentLog, lines: list[Any]
) -> None:
    for number in range(50):
        incidents.record_failure(
            "poll_undecided", "default", f"task {number} at 0x{number:x}f: code 500"
        )
    assert changes(lines) == ["began"]


async def test_a_failure_whose_text_keeps_changing_is_logged_a_few_times(
    incidents: IncidentLog, lines: list[Any]
) -> None:
    for word in "abcdefghijklmnopqrstuvwxyz":
        incidents.record_failure("webhook_failed", "https://a.example", f"said {word}")
    assert changes(lines) == ["began", *["changed"] * 4]


async def test_tries_that_fail_and_succeed_in_turn_are_one_incident(
    incidents: IncidentLog, clock: Clock, lines: list[Any]
) -> None:
    for _ in range(20):
        incidents.record_outage(
            PostgresDown("canceling statement due to lock timeout"), doing="settle"
        )
        clock.seconds += 1
        incidents.record_recovery("postgres")
        clock.seconds += 1
    assert changes(lines) == ["began"]


async def test_the_end_is_logged_by_itself_after_a_quiet_time(lines: list[Any]) -> None:
    incidents = IncidentLog(calm_seconds=0.05)
    incidents.record_outage(RedisDown("away"), doing="listen_for_changes")
    incidents.record_recovery("redis")
    assert changes(lines) == ["began"]
    async with asyncio.timeout(5):
        while len(lines) < 2:
            await asyncio.sleep(0.01)
    assert changes(lines) == ["began", "over"]
    assert incidents.since("dependency_down", "redis") is None


async def test_a_failure_in_the_quiet_time_keeps_the_incident_open(lines: list[Any]) -> None:
    incidents = IncidentLog(calm_seconds=0.1)
    incidents.record_outage(RedisDown("away"), doing="claim")
    incidents.record_recovery("redis")
    incidents.record_outage(RedisDown("away"), doing="claim")
    async with asyncio.timeout(5):
        while incidents._incidents["dependency_down", "redis"].closing is not None:
            await asyncio.sleep(0.01)
    assert changes(lines) == ["began"]


async def test_subjects_are_distinguished(incidents: IncidentLog, lines: list[Any]) -> None:
    incidents.record_outage(PostgresDown("away"), doing="reconcile")
    incidents.record_outage(RedisDown("away"), doing="reconcile")
    incidents.record_outage(DatabaseRefused("no", sqlstate="42501"), doing="reconcile")
    assert [line["subject"] for line in lines] == ["postgres", "redis", "database_refused"]
    assert "fix" not in lines[2]


async def test_an_incident_without_an_end_starts_again_after_a_long_quiet_time(
    incidents: IncidentLog, clock: Clock, lines: list[Any]
) -> None:
    incidents.record_failure("callback_refused", "signature", "is wrong")
    clock.seconds += EXPIRY_SECONDS + 1
    incidents.record_failure("callback_refused", "signature", "is wrong")
    assert changes(lines) == ["began", "began"]


async def test_a_level_and_a_quiet_time_of_its_own(
    incidents: IncidentLog, clock: Clock, lines: list[Any]
) -> None:
    for _ in range(5):
        incidents.record_failure(
            "step_failed", "poll_job", "KeyError", level="error", calm_seconds=60
        )
        clock.seconds += 15
        incidents.record_success("step_failed", "poll_job")
        clock.seconds += 15
    assert [line["log_level"] for line in lines] == ["error"] * 3
    assert changes(lines) == ["began", "still", "still"]
