"""Reads Server-Sent Events, and decides where and when a broken stream goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from darkroom_client.generated.models import Event as EventFields
from darkroom_client.http.calls import ENDED
from darkroom_client.http.retries import RetryPolicy
from darkroom_client.json_reader import read_model


@dataclass(frozen=True, kw_only=True)
class Event(EventFields):
    """One event of a stream."""

    last_event_id: str
    """Give it as `last_event_id` to go on after this event."""


class EventStream:
    """The progress of one stream over its connections. Does no input or output."""

    def __init__(
        self, retries: RetryPolicy, last_event_id: str | None, *, ends_with_job: bool = True
    ) -> None:
        self._retries = retries
        self._ends_with_job = ends_with_job
        self._last_event_id = last_event_id
        self._fields: dict[str, str] = {}
        self._rest = b""
        self._failures = 0
        self._pause_seconds = 2.0
        self._last: EventFields | None = None

    def start(self) -> Mapping[str, str]:
        """Begin another connection, and return its headers. Half a frame of the last is dropped."""
        self._fields, self._rest = {}, b""
        return {"Last-Event-ID": self._last_event_id} if self._last_event_id else {}

    def read(self, chunk: bytes) -> Iterator[Event]:
        """Take bytes, and yield each event that they complete."""
        # Lines end with LF alone: data may contain other characters that break lines elsewhere.
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").decode()
            if text:
                self._add(text)
                continue
            frame, self._fields = self._fields, {}
            event = self._take(frame) if frame else None
            if event is not None:
                yield event

    def _add(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data" and name in self._fields:
            value = f"{self._fields[name]}\n{value}"
        if name:
            self._fields[name] = value

    def _take(self, frame: Mapping[str, str]) -> Event | None:
        self._failures = 0
        if frame.get("retry", "").isdigit():
            self._pause_seconds = int(frame["retry"]) / 1000
        self._last_event_id = frame.get("id", self._last_event_id)
        if "data" not in frame:
            return None
        fields = read_model(EventFields, json.loads(frame["data"]))
        self._last = fields
        return Event(**vars(fields), last_event_id=self._last_event_id or "")

    @property
    def has_ended(self) -> bool:
        """Whether the last event ended the job of the stream, with nothing to follow.

        A stream of an account has no end: a server that stops ends it after any event.
        """
        last = self._last
        return (
            self._ends_with_job
            and last is not None
            and last.state in ENDED
            and "images_due_at" not in last.detail
        )

    def pause_seconds(self, error: Exception | None = None) -> float:
        """Return the pause before the next connection. Raises the error if there is none."""
        if error is None:
            return self._pause_seconds
        self._failures += 1
        pause = self._retries.pause_seconds(error, self._failures)
        if pause is None:
            raise error
        return pause
