"""Which jobs have changed, as listeners of the console are told once an interval."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast
from uuid import UUID, uuid4

import orjson

from producer.live.change_digest import IDS_MAX, ChangeDigest
from producer.live.change_subscription import ChangeSubscription, Receiver
from producer.live.event_frames import HEARTBEAT_FRAME
from shared.adapters.redis.change_messages import Change


class Announcements:
    """A subscription whose messages the test sends."""

    def __init__(self) -> None:
        self.receivers: list[Receiver] = []
        self.starts = 0

    def add(self, receiver: Receiver) -> None:
        self.receivers.append(receiver)

    def start(self) -> None:
        self.starts += 1

    def announce(self, ids: Sequence[UUID]) -> None:
        for receiver in self.receivers:
            receiver([Change(one) for one in ids])


def digest_of(announcements: Announcements, heartbeat_seconds: float = 60) -> ChangeDigest:
    subscription = cast("ChangeSubscription", announcements)
    return ChangeDigest(subscription, interval_seconds=0.001, heartbeat_seconds=heartbeat_seconds)


def told(frame: bytes) -> dict[str, object]:
    name, data = frame.decode().strip().split("\n")
    assert name == "event: changes"
    read: dict[str, object] = orjson.loads(data.removeprefix("data: "))
    return read


async def test_a_listener_is_told_each_changed_job_once() -> None:
    announcements = Announcements()
    digest = digest_of(announcements)
    frames = digest.frames(asyncio.Event())
    first = asyncio.ensure_future(anext(frames))
    await asyncio.sleep(0)
    assert (digest.listener_count, announcements.starts) == (1, 1)
    one, other = uuid4(), uuid4()
    announcements.announce([one, other, one])
    assert told(await first) == {"jobs": [str(one), str(other)], "more": False}
    announcements.announce([other])
    assert told(await anext(frames)) == {"jobs": [str(other)], "more": False}
    await frames.aclose()
    assert digest.listener_count == 0


async def test_more_changes_than_a_frame_holds_are_told_without_their_ids() -> None:
    announcements = Announcements()
    frames = digest_of(announcements).frames(asyncio.Event())
    first = asyncio.ensure_future(anext(frames))
    await asyncio.sleep(0)
    announcements.announce([uuid4() for _ in range(IDS_MAX + 1)])
    frame = told(await first)
    assert len(cast("list[str]", frame["jobs"])) == IDS_MAX
    assert frame["more"] is True
    await frames.aclose()


async def test_without_changes_there_are_heartbeats_until_the_process_stops() -> None:
    stopping = asyncio.Event()
    digest = digest_of(Announcements(), heartbeat_seconds=0)
    frames = digest.frames(stopping)
    assert await anext(frames) == HEARTBEAT_FRAME
    stopping.set()
    assert [frame async for frame in frames] == []
    assert digest.listener_count == 0


async def test_what_changed_before_a_listener_came_is_not_told() -> None:
    announcements = Announcements()
    digest = digest_of(announcements)
    announcements.announce([uuid4()])
    frames = digest.frames(asyncio.Event())
    first = asyncio.ensure_future(anext(frames))
    await asyncio.sleep(0)
    later = uuid4()
    announcements.announce([later])
    assert told(await first)["jobs"] == [str(later)]
    await frames.aclose()
