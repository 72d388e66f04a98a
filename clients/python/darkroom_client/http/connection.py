"""Sends calls, repeats them where that is safe, and follows streams over broken connections.

Written by `make types` from async_connection.py.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from time import sleep
from typing import Any, TypeVar

import httpx2

from darkroom_client.http.calls import Call, Page, get_link
from darkroom_client.http.event_stream import Event, EventStream
from darkroom_client.http.exchange import (
    SILENCE_SECONDS,
    Exchange,
    connection_failed,
    problem_of,
    read_content,
    read_response,
)
from darkroom_client.http.proxies import environment_proxies
from darkroom_client.http.transport import ProxyTransport

T = TypeVar("T")


class Connection:
    """The connections of one client."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        transport = ProxyTransport(environment_proxies(), exchange.url)
        self._http = httpx2.Client(transport=transport)
        weakref.finalize(self, self._http.close)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """Return the answer of a call."""

        def once(one: Call[T]) -> T:
            return self.send_once(one)

        return self._repeat(call, once)

    def send_once(self, call: Call[T]) -> T:
        """Return the answer of a call, which is not repeated."""
        return read_response(call, self._request(call))

    def pause_seconds(self, call: Call[Any], error: Exception, failures: int) -> float:
        """Return the pause before the call is sent again. Raises the error if it is not."""
        return self._exchange.pause_seconds(call, error, failures)

    def entries(self, page_of: Callable[[str | None], Call[Page[T]]]) -> Iterator[T]:
        """Yield the entries of a list, page by page."""
        page = self.send(page_of(None))
        while True:
            yield from page.entries
            if page.next_cursor is None:
                return
            page = self.send(page_of(page.next_cursor))

    def download(self, call: Call[bytes]) -> bytes:
        """Return the bytes that the API answers with, or those behind the link that it answers."""
        return self._repeat(call, self._fetch)

    def download_link(self, call: Call[bytes]) -> bytes:
        """Return the bytes behind a link of another host, without sending it the key."""
        return self._repeat(call, self._fetch_link)

    def events(
        self, path: str, last_event_id: str | None, *, ends_with_job: bool = True
    ) -> Iterator[Event]:
        """Yield the events of a stream until its job has ended, or without end."""
        stream = EventStream(self._exchange.retries, last_event_id, ends_with_job=ends_with_job)
        while True:
            error: Exception | None = None
            try:
                with closing(self._connect(path, stream)) as events:
                    yield from events
            except _NothingLeft:
                return
            except Exception as failed:
                error = failed
            if error is None and stream.has_ended:
                return
            sleep(stream.pause_seconds(error))

    def _connect(self, path: str, stream: EventStream) -> Generator[Event, None, None]:
        """Yield the events of one connection."""
        try:
            with self._http.stream(
                "GET",
                self._exchange.address(path),
                headers={**self._exchange.headers(), **stream.start()},
                timeout=self._exchange.timeout(SILENCE_SECONDS),
            ) as response:
                if response.status_code == httpx2.codes.NO_CONTENT:
                    raise _NothingLeft
                if not response.is_success:
                    response.read()
                    raise problem_of(response)
                for chunk in response.iter_bytes():
                    yield from stream.read(chunk)
        except httpx2.RequestError as failed:
            raise connection_failed(failed) from failed

    def _repeat(self, call: Call[Any], once: Callable[[Call[Any]], T]) -> T:
        failures = 0
        while True:
            try:
                return once(call)
            except Exception as error:
                failures += 1
                pause_seconds = self._exchange.pause_seconds(call, error, failures)
            sleep(pause_seconds)

    def _request(self, call: Call[Any]) -> httpx2.Response:
        try:
            return self._http.request(**self._exchange.request(call))
        except httpx2.RequestError as failed:
            raise connection_failed(failed) from failed

    def _fetch(self, call: Call[bytes]) -> bytes:
        response = self._request(call)
        if not response.is_redirect:
            return read_content(response)
        link = httpx2.URL(self._exchange.address(call.path)).join(response.headers["Location"])
        return self._fetch_link(get_link(str(link)))

    def _fetch_link(self, call: Call[bytes]) -> bytes:
        try:
            response = self._http.get(
                call.path, follow_redirects=True, timeout=self._exchange.timeout(SILENCE_SECONDS)
            )
        except httpx2.RequestError as failed:
            raise connection_failed(failed) from failed
        return read_content(response)


class _NothingLeft(Exception):
    """The stream has no more events."""
