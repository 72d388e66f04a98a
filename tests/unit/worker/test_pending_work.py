"""What a worker does not look for while its heartbeat finds nothing to do."""

from __future__ import annotations

from typing import Any

from worker.queue.pending_work import PendingWork

NOTHING = {
    "reconcile": False,
    "late_tasks": False,
    "prices": False,
    "events": 7,
    "pauses": None,
    "routes": None,
    "processes": ["a"],
}


def _found(**changes: Any) -> dict[str, Any]:
    return {**NOTHING, **changes}


def _needed(work: PendingWork) -> set[str]:
    return {name for name, event in work.needed.items() if event.is_set()}


def test_all_work_is_done_until_heartbeats_find_nothing() -> None:
    work = PendingWork()
    assert _needed(work) == {"reconcile", "late_tasks", "prices"}
    work.record(_found())
    assert _needed(work) == {"reconcile"}, "the newest event was not compared yet"
    work.record(_found())
    assert _needed(work) == set()
    assert work.is_quiet


def test_what_a_heartbeat_finds_is_done_and_a_failed_one_has_all_of_it_done() -> None:
    work = PendingWork()
    for found in (_found(), _found()):
        work.record(found)
    work.record(_found(prices=True))
    assert _needed(work) == {"prices"}
    work.record(_found(late_tasks=True, reconcile=True))
    assert _needed(work) == {"late_tasks", "reconcile"}
    work.record(None)
    assert _needed(work) == {"reconcile", "late_tasks", "prices"}


def test_events_that_are_new_or_gone_are_looked_at() -> None:
    work = PendingWork()
    for newest, is_looked_at in ((7, True), (7, False), (9, True), (9, False), (4, True)):
        work.record(_found(events=newest))
        assert work.is_quiet != is_looked_at, newest


def test_only_changes_of_its_fields_are_told() -> None:
    work, told = PendingWork(), []
    work.call_on_change(lambda: told.append("pauses"), "pauses")
    work.call_on_change(lambda: told.append("any"), "pauses", "processes")
    work.record(_found())
    assert told == ["pauses", "any"], "what was not known may have changed"
    told.clear()
    work.record(_found(events=8))
    assert told == []
    work.record(_found(events=8, processes=["a", "b"]))
    assert told == ["any"]
    work.record(_found(events=8, processes=["a", "b"], pauses=[[1, None]]))
    assert told == ["any", "pauses", "any"]
    work.record(None)
    assert told == ["any", "pauses", "any", "pauses", "any"]


async def test_the_history_is_sampled_by_a_heartbeat_only_without_open_jobs() -> None:
    work = PendingWork()
    assert not work.request_sample({"default": {}})
    for found in (_found(), _found()):
        work.record(found)
    assert work.request_sample({"default": {"budget": 20}})
    await work.request_echo("a token")
    assert work.take_requests() == ("a token", {"default": {"budget": 20}})
    assert work.take_requests() == (None, None), "once"
    work.record(_found(reconcile=True))
    assert not work.request_sample({"default": {}})
