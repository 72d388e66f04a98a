"""Streams of events: how bytes become events, and where a broken one goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from darkroom_client import ConnectionFailed, RetryPolicy, models
from darkroom_client.http.event_stream import EventStream
from darkroom_client.json_reader import read_model
from darkroom_client.testing import InMemoryDarkroom

FIELDS: dict[str, Any] = {
    "id": 7,
    "job_id": "j",
    "account_id": "acme",
    "at": "2026-01-31T18:04:05.123456Z",
    "event": "progressed",
    "state": "generating",
    "detail": {"message": "two\u2028lines\x85here"},
}


def frame(number: int, **changes: Any) -> bytes:
    data = json.dumps({**FIELDS, "id": number, **changes}, ensure_ascii=False)
    return f"id: {number}.0\nevent: progressed\ndata: {data}\n\n".encode()


def stream(**changes: Any) -> EventStream:
    return EventStream(RetryPolicy(tries=3, first_pause_seconds=0.0), **changes)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_events_are_read_however_the_bytes_are_cut(size: int) -> None:
    sent = b"retry: 10\n\n:\n\n" + frame(1) + b": alive\r\n\r\n" + frame(2) + b"id: 3\n\n"
    reader = stream(last_event_id=None)
    assert reader.start() == {}
    chunks = [sent[start : start + size] for start in range(0, len(sent), size)]
    events = [event for chunk in chunks for event in reader.read(chunk)]
    assert [(one.id, one.last_event_id) for one in events] == [(1, "1.0"), (2, "2.0")]
    assert events[0].detail["message"] == "two\u2028lines\x85here"
    assert reader.pause_seconds() == 0.01
    assert reader.start() == {"Last-Event-ID": "3"}


def test_half_a_frame_is_forgotten() -> None:
    reader = stream(last_event_id="5.0")
    assert reader.start() == {"Last-Event-ID": "5.0"}
    assert list(reader.read(frame(6)[:-5])) == []
    assert reader.start() == {"Last-Event-ID": "5.0"}
    [event] = reader.read(frame(6))
    assert event.id == 6


def test_a_stream_that_breaks_too_often_is_given_up() -> None:
    reader, broken = stream(last_event_id=None), ConnectionFailed("cut")
    reader.start()
    assert [reader.pause_seconds(broken) for _ in range(2)] == [0.0, 0.0]
    list(reader.read(frame(1)))  # what was read counts anew
    assert [reader.pause_seconds(broken) for _ in range(2)] == [0.0, 0.0]
    with pytest.raises(ConnectionFailed):
        reader.pause_seconds(broken)


def test_a_stream_ends_with_its_job_unless_images_are_on_their_way() -> None:
    reader = stream(last_event_id=None)
    reader.start()
    assert not reader.has_ended
    due = {"state": "succeeded", "detail": {"images_due_at": "2026-01-31T18:05:05Z"}}
    list(reader.read(frame(1, **due)))
    assert not reader.has_ended
    list(reader.read(frame(2, state="succeeded", event="images_stored", detail={})))
    assert reader.has_ended


def test_a_stream_of_an_account_goes_on_after_the_end_of_a_job() -> None:
    """A server that stops ends its streams, often right after such an event."""
    reader = stream(last_event_id="0.0", ends_with_job=False)
    reader.start()
    for number, state in enumerate(("succeeded", "failed", "cancelled"), 1):
        list(reader.read(frame(number, state=state, detail={})))
        assert not reader.has_ended
        assert reader.start() == {"Last-Event-ID": f"{number}.0"}


def test_a_job_is_followed_while_it_runs(darkroom: InMemoryDarkroom) -> None:
    darkroom.kie.take(0.2, progress=(0.25, 0.5))
    job = darkroom.client().enqueue(prompt="a cat", aspect_ratio="1:1")
    events = [(one.event, one.detail.get("progress")) for one in job.events()]
    assert events[2:] == [
        ("submitted", None),
        ("progressed", 0.25),
        ("progressed", 0.5),
        ("completed", None),
    ]


def test_answers_of_other_versions_are_read() -> None:
    older = {name: value for name, value in FIELDS.items() if name != "detail"}
    with pytest.raises(Exception, match=r"Event\.detail"):
        read_model(models.Event, older)
    newer = {**FIELDS, "state": "postponed", "colour": "red"}
    assert str(read_model(models.Event, newer).state) == "postponed"
    entry = {"id": 1, "account_id": "a", "kind": "hold", "credits": 0.1, "balance_after": 1}
    times = {"held_after": 2.35, "created_at": FIELDS["at"]}
    read = read_model(models.LedgerEntry, {**entry, **times})
    assert (str(read.credits), str(read.held_after), read.job_id) == ("0.1", "2.35", None)
