"""Sends calls, repeats them where that is safe, and follows streams over broken connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import httpx2

from darkroom_client.http.async_transport import AsyncProxyTransport
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

T = TypeVar("T")


class AsyncConnection:
    """The connections of one client."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        transport = AsyncProxyTransport(environment_proxies(), exchange.url)
        self._http = httpx2.AsyncClient(transport=transport)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Return the answer of a call."""

        async def once(one: Call[T]) -> T:
            return await self.send_once(one)

        return await self._repeat(call, once)

    async def send_once(self, call: Call[T]) -> T:
        """Return the answer of a call, which is not repeated."""
        return read_response(call, await self._request(call))

    def pause_seconds(self, call: Call[Any], error: Exception, failures: int) -> float:
        """Return the pause before the call is sent again. Raises the error if it is not."""
        return self._exchange.pause_seconds(call, error, failures)

    async def entries(self, page_of: Callable[[str | None], Call[Page[T]]]) -> AsyncIterator[T]:
        """Yield the entries of a list, page by page."""
        page = await self.send(page_of(None))
        while True:
            for one in page.entries:
                yield one
            if page.next_cursor is None:
                return
            page = await self.send(page_of(page.next_cursor))

    async def download(self, call: Call[bytes]) -> bytes:
        """Return the bytes that the API answers with, or those behind the link that it answers."""
        return await self._repeat(call, self._fetch)

    async def download_link(self, call: Call[bytes]) -> bytes:
        """Return the bytes behind a link of another host, without sending it the key."""
        return await self._repeat(call, self._fetch_link)

    async def events(
        self, path: str, last_event_id: str | None, *, ends_with_job: bool = True
    ) -> AsyncIterator[Event]:
        """Yield the events of a stream until its job has ended, or without end."""
        stream = EventStream(self._exchange.retries, last_event_id, ends_with_job=ends_with_job)
        while True:
            error: Exception | None = None
            try:
                async with aclosing(self._connect(path, stream)) as events:
                    async for event in events:
                        yield event
            except _NothingLeft:
                return
            except Exception as failed:
                error = failed
            if error is None and stream.has_ended:
                return
            await asyncio.sleep(stream.pause_seconds(error))

    async def _connect(self, path: str, stream: EventStream) -> AsyncGenerator[Event, None]:
        """Yield the events of one connection."""
        try:
            async with self._http.stream(
                "GET",
                self._exchange.address(path),
                headers={**self._exchange.headers(), **stream.start()},
                timeout=self._exchange.timeout(SILENCE_SECONDS),
            ) as response:
                if response.status_code == httpx2.codes.NO_CONTENT:
                    raise _NothingLeft
                if not response.is_success:
                    await response.aread()
                    raise problem_of(response)
                async for chunk in response.aiter_bytes():
                    for event in stream.read(chunk):
                        yield event
        except httpx2.RequestError as failed:
            raise connection_failed(failed) from failed

    async def _repeat(self, call: Call[Any], once: Callable[[Call[Any]], Awaitable[T]]) -> T:
        failures = 0
        while True:
            try:
                return await once(call)
            except Exception as error:
                failures += 1
                pause_seconds = self._exchange.pause_seconds(call, error, failures)
            await asyncio.sleep(pause_seconds)

    async def _request(self, call: Call[Any]) -> httpx2.Response:
        try:
            return await self._http.request(**self._exchange.request(call))
        except httpx2.RequestError as failed:
            raise connection_failed(failed) from failed

    async def _fetch(self, call: Call[bytes]) -> bytes:
        response = await self._request(call)
        if not response.is_redirect:
            return read_content(response)
        link = httpx2.URL(self._exchange.address(call.path)).join(response.headers["Location"])
        return await self._fetch_link(get_link(str(link)))

    async def _fetch_link(self, call: Call[bytes]) -> bytes:
        try:
            response = await self._http.get(
                call.path, follow_redirects=True, timeout=self._exchange.timeout(SILENCE_SECONDS)
            )
        except httpx2.RequestError as failed:
            raise connection_failed(failed) from failed
        return read_content(response)


class _NothingLeft(Exception):
    """The stream has no more events."""
