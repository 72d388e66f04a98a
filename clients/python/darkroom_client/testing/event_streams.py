"""The event streams of the Darkroom in memory: frames of Server-Sent Events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from darkroom_client.testing.jobs import Jobs, MemoryJob

EVENT_STREAM = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform"}
"""The headers of a stream."""
_HEARTBEAT_SECONDS = 15.0


def job_frames(jobs: Jobs, job: MemoryJob, after: int) -> Iterator[bytes]:
    """Yield the events of a job after that one, until it has ended."""
    yield b"retry: 2000\n\n"
    while True:
        with jobs.changed:
            found = [one for one in job.events if one["id"] > after]
            is_last = job.has_ended or jobs.is_closed
            if not found and not is_last:
                is_silent = not jobs.changed.wait(_HEARTBEAT_SECONDS)
        if found or is_last:
            for event in found:
                after = event["id"]
                yield _frame(event, str(after))
            if is_last:
                return
        elif is_silent:
            yield b":\n\n"


def account_frames(jobs: Jobs, account_id: str, after: int) -> Iterator[bytes]:
    """Yield the events of all jobs of an account after that one, without end."""
    yield b"retry: 2000\n\n"
    yield f":\nid: {after}.{after}\n\n".encode()
    while True:
        with jobs.changed:
            found = jobs.events[after:]
            if jobs.is_closed:
                return
            if not found:
                is_silent = not jobs.changed.wait(_HEARTBEAT_SECONDS)
        for event in found:
            after = event["id"]
            if event["account_id"] == account_id:
                yield _frame(event, f"{after}.{after}")
        if not found and is_silent:
            yield b":\n\n"


def _frame(event: Mapping[str, Any], position: str) -> bytes:
    data = json.dumps(event, ensure_ascii=False)
    return f"id: {position}\nevent: {event['event']}\ndata: {data}\n\n".encode()
