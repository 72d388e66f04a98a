"""Frames, positions and buffers of listeners: the pure parts of event streams."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from random import Random
from uuid import UUID

import orjson
import pytest

from producer.live.event_frames import (
    END_EVENTS,
    StoredEvent,
    event_to_json,
    frame_of,
    position_frame,
)
from producer.live.event_listeners import Listener, ListenerGroup, QueuedFrame
from producer.live.positions import (
    Position,
    Snapshot,
    read_event_id,
    read_position,
    refuse_event_ahead,
    refuse_position_ahead,
    safe_positions,
)
from shared.adapters.redis.change_messages import Change, decode_changes, encode_changes
from shared.domain.lifecycle import TRANSITIONS, event_name
from shared.errors import InvalidRequest

JOB = UUID("01a20600-4947-7353-888c-725e9420fbae")
OTHER = UUID("01a20600-4947-7353-888c-725e9420fbaf")
AT = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
EVENT = StoredEvent(7, 760, JOB, "acme", AT, "progressed", {"progress": 0.5}, "generating")


@dataclass(frozen=True, slots=True)
class Place:
    """An event of which only its place matters."""

    tx: int
    id: int


# --- frames ---------------------------------------------------------------------------------


def test_a_frame_has_its_position_its_name_and_one_line_of_json() -> None:
    frame = frame_of(EVENT, EVENT.id)
    head, data = frame.split(b"\ndata: ")
    assert head == b"id: 7\nevent: progressed"
    assert data.endswith(b"\n\n")
    assert orjson.loads(data) == {
        "id": 7,
        "job_id": str(JOB),
        "account_id": "acme",
        "at": "2026-03-01T12:30:15.250000Z",
        "event": "progressed",
        "state": "generating",
        "detail": {"progress": 0.5},
    }


def test_nothing_in_an_event_can_break_out_of_its_frame() -> None:
    hostile = "x\n\nid: 9\ndata: {}\r\n\r\nretry: 1\u2028"
    event = replace(EVENT, event=hostile, detail={"message": hostile}, account_id=hostile)
    lines = frame_of(event, 7).splitlines()
    assert [line.partition(b":")[0] for line in lines] == [b"id", b"event", b"data", b""]
    assert orjson.loads(lines[2].removeprefix(b"data: "))["detail"] == {"message": hostile}


@pytest.mark.parametrize("transition", TRANSITIONS, ids=lambda one: event_name(one.event))
def test_every_event_of_the_lifecycle_says_where_it_led(transition: object) -> None:
    (row,) = [one for one in TRANSITIONS if one is transition]
    event = replace(EVENT, event=event_name(row.event), job_state="something newer")
    assert event.state == row.target
    assert event.is_end == (row.target in {"succeeded", "failed", "cancelled"})


def test_event_streams_do_not_show_machines_and_operators() -> None:
    event = replace(EVENT, detail={"attempt": 1, "worker": "db-7:4711", "by": "alice"})
    assert event_to_json(event)["detail"] == {"attempt": 1}


@pytest.mark.parametrize(
    ("word", "detail", "state"),
    [
        ("enqueued", {}, "queued"),
        ("resolved_by_operator", {"verdict": "submitted"}, "generating"),
        ("resolved_by_operator", {"verdict": "lost"}, "failed"),
        ("cancel_requested", {"state": "generating"}, "generating"),
        ("delivered_late", {}, "as the job is"),
        ("a_word_of_tomorrow", {}, "as the job is"),
    ],
)
def test_events_beside_the_lifecycle_say_where_the_job_is(
    word: str, detail: dict[str, str], state: str
) -> None:
    event = replace(EVENT, event=word, detail=detail, job_state="as the job is")
    assert event_to_json(event)["state"] == state
    assert word not in END_EVENTS


def test_a_standstill_frame_moves_the_position_and_shows_nothing() -> None:
    assert position_frame(Position(760, 0)) == b":\nid: 760.0\n\n"


# --- positions ------------------------------------------------------------------------------


def test_positions_of_events_that_came_in_order_are_exact() -> None:
    events = [Place(700, 1), Place(701, 2), Place(701, 3), Place(705, 4)]
    positions = safe_positions(events, Position(699, 0), Position(710, 0))
    assert [str(one) for one in positions] == ["700.1", "701.2", "701.3", "710.0"]


def test_nothing_is_passed_that_is_sent_later() -> None:
    # The second was written first and committed last.
    events = [Place(705, 1), Place(700, 2), Place(706, 3)]
    positions = safe_positions(events, Position(699, 0), Position(710, 0))
    assert [str(one) for one in positions] == ["699.0", "705.1", "710.0"]


def test_while_an_older_transaction_is_open_no_position_passes_it() -> None:
    events = [Place(700, 1), Place(703, 2), Place(704, 3)]
    positions = safe_positions(events, Position(699, 0), Position(702, 0))
    assert [str(one) for one in positions] == ["702.0", "702.0", "702.0"]


def test_positions_never_pass_what_is_unsent_and_never_go_back() -> None:
    random = Random(7)
    for _ in range(500):
        txs = [random.randint(700, 712) for _ in range(random.randint(0, 12))]
        events = [Place(tx, number) for number, tx in enumerate(txs, start=1)]
        start = Position(699, 0)
        end = Position(random.randint(700, 713), 0)
        positions = safe_positions(events, start, end)
        for sent, position in enumerate(positions, start=1):
            assert not [one for one in events[sent:] if Position(one.tx, one.id) <= position]
            assert start <= position <= end
        assert all(earlier <= later for earlier, later in pairwise(positions))
        assert not positions or positions[-1] == end


def test_a_snapshot_is_read_as_postgres_writes_it() -> None:
    snapshot = Snapshot.parse("760:765:761,763")
    assert (snapshot.xmin, snapshot.xmax, str(snapshot.safe_position)) == (760, 765, "760.0")
    assert Snapshot.parse("760:760:").xmax == 760


@pytest.mark.parametrize("given", [None, ""])
def test_without_the_header_a_stream_begins_at_its_beginning(given: str | None) -> None:
    assert read_event_id(given) == 0
    assert read_position(given) is None


def test_what_a_stream_gave_is_understood() -> None:
    assert read_event_id("9223372036854775807") == 2**63 - 1
    assert read_position("18446744073709551615.12") == Position(2**64 - 1, 12)
    assert read_position("0.0") == Position(0, 0)


@pytest.mark.parametrize(
    "given",
    ["x", "-1", "1.5e3", "9223372036854775808", "٣", "1 ", " 1", "1\n", "0x1", "1" * 5_000, "1.2"],
)
def test_a_job_position_that_no_stream_gave_is_refused_naming_the_header(given: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_event_id(given)
    (fault,) = refused.value.faults
    assert fault.field == "Last-Event-ID"
    assert len(fault.message) < 400


@pytest.mark.parametrize(
    "given",
    ["7", "7.", ".7", "7.7.7", "-1.0", "18446744073709551616.0", "1.9223372036854775808", "٣.٣"],
)
def test_an_account_position_that_no_stream_gave_is_refused_naming_the_header(given: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_position(given)
    (fault,) = refused.value.faults
    assert (fault.field, given in fault.message) == ("Last-Event-ID", True)


def test_positions_of_another_database_are_refused() -> None:
    now = Snapshot.parse("760:765:")
    refuse_position_ahead(Position(765, 3), now)
    refuse_event_ahead(7, 7)
    with pytest.raises(InvalidRequest, match="ahead of this database"):
        refuse_position_ahead(Position(766, 0), now)
    with pytest.raises(InvalidRequest, match="whose newest event is 7"):
        refuse_event_ahead(8, 7)


# --- news -----------------------------------------------------------------------------------


def test_changes_survive_the_way_over_redis() -> None:
    changes = [Change(JOB), Change(OTHER, has_ended=True)]
    assert encode_changes(changes) == f"{JOB} !{OTHER}"
    assert decode_changes(encode_changes(changes)) == changes
    assert decode_changes("") == []


@pytest.mark.parametrize("message", ["x", f"{JOB},{OTHER}", "!", f"{JOB} !", "{}"])
def test_a_message_of_another_shape_is_ignored(message: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_changes(message)


# --- listeners ------------------------------------------------------------------------------


def entries(count: int) -> list[QueuedFrame]:
    return [QueuedFrame(number, b"%d" % number) for number in range(1, count + 1)]


async def test_a_listener_receives_all_waiting_changes_at_once() -> None:
    listener = Listener(10, now=0)
    for entry in entries(3):
        listener.push(entry, now=5)
    assert [one.event_id for one in await listener.take()] == [1, 2, 3]
    assert listener.last_sent_at == 5
    taking = asyncio.create_task(listener.take())
    await asyncio.sleep(0)
    assert not taking.done()
    listener.push(entries(1)[0], now=6)
    assert [one.event_id for one in await taking] == [1]


async def test_a_listener_whose_row_is_full_is_dropped_and_keeps_nothing() -> None:
    listener = Listener(3, now=0)
    for entry in entries(4):
        listener.push(entry, now=1)
    assert (listener.is_closed, listener.was_dropped) == (True, True)
    assert await listener.take() == []
    listener.push(entries(1)[0], now=2)
    assert await listener.take() == []


async def test_a_closed_listener_stops_waiting() -> None:
    listener = Listener(3, now=0)
    taking = asyncio.create_task(listener.take())
    await asyncio.sleep(0)
    listener.close()
    assert await taking == []
    assert not listener.was_dropped


async def test_a_topic_sends_its_listeners_one_frame_that_is_built_once() -> None:
    group: ListenerGroup[str] = ListenerGroup()
    first, second, other = (Listener(3, now=0) for _ in range(3))
    for key, listener in (("a", first), ("a", second), ("b", other)):
        group.add(key, listener)
    made = []

    def make() -> QueuedFrame:
        made.append(1)
        return entries(1)[0]

    group.send("a", make, now=1)
    group.send("nobody listens", make, now=1)
    assert len(made) == 1
    assert await first.take() == await second.take() == entries(1)
    assert (len(group), sorted(group.keys)) == (3, ["a", "b"])
    for _ in range(2):
        group.remove("b", other)
    assert (len(group), "b" in group) == (2, False)
