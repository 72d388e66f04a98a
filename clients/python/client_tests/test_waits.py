"""A wait ends in time, whatever the API does, and says what was last known."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from darkroom_client import (
    ApiError,
    AsyncDarkroom,
    ConnectionFailed,
    Darkroom,
    DarkroomError,
    RetryPolicy,
    WaitTimedOut,
)
from darkroom_client.testing import InMemoryDarkroom

LATE_SECONDS = 0.2
TIMEOUT_SECONDS = 0.3
MARGIN_SECONDS = 3.0
"""What a busy machine may add. Without the bound, each wait below takes 35 s or more."""


@pytest.fixture(autouse=True)
def short_lateness(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("wait", "async_wait"):
        monkeypatch.setattr(f"darkroom_client.http.{module}.LATE_SECONDS", LATE_SECONDS)


@contextmanager
def serving(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """Run a server that handles each connection in a thread, until the block ends."""
    ended = threading.Event()

    def handle(connection: socket.socket) -> None:
        with connection:
            if connection.recv(65536):
                try:
                    answer(connection, ended)
                except OSError:
                    return  # the client has given up

    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while not ended.is_set():
                connection, _ = server.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            ended.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


def silent(connection: socket.socket, ended: threading.Event) -> None:
    """Answer nothing."""
    ended.wait()


def slow(connection: socket.socket, ended: threading.Event) -> None:
    """Send a head without end, byte by byte. No timeout of a socket ever passes."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not ended.wait(0.05):
        connection.sendall(b"X: y\r\n")


def waiting(connection: socket.socket, ended: threading.Event) -> None:
    """Send the body byte by byte."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not ended.wait(0.05):
        connection.sendall(b" ")


def busy(connection: socket.socket, ended: threading.Event) -> None:
    """Ask for a minute of patience."""
    connection.sendall(
        b"HTTP/1.1 503 Busy\r\nRetry-After: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )


def broken(connection: socket.socket, ended: threading.Event) -> None:
    """Close without an answer."""


def wait_sync(url: str, **options: Any) -> None:
    with Darkroom(url, "key") as api:
        api.wait("j-1", TIMEOUT_SECONDS, **options)


def wait_async(url: str, **options: Any) -> None:
    async def wait() -> None:
        async with AsyncDarkroom(url, "key") as api:
            await api.wait("j-1", TIMEOUT_SECONDS, **options)

    asyncio.run(wait())


Wait = Callable[..., None]
either = pytest.mark.parametrize("wait", [wait_sync, wait_async])


def outcome_of(wait: Wait, url: str, **options: Any) -> WaitTimedOut:
    """Return the error of a wait, which is raised in time."""
    started = time.monotonic()
    with pytest.raises(WaitTimedOut) as raised:
        wait(url, **options)
    taken = time.monotonic() - started
    assert TIMEOUT_SECONDS <= taken < TIMEOUT_SECONDS + LATE_SECONDS + MARGIN_SECONDS
    return raised.value


@either
@pytest.mark.parametrize("answer", [silent, slow, waiting])
def test_an_api_that_does_not_answer_in_time(
    wait: Wait, answer: Callable[[socket.socket, threading.Event], None]
) -> None:
    with serving(answer) as url:
        error = outcome_of(wait, url)
    assert (error.job_id, error.state, error.timeout_seconds) == ("j-1", None, TIMEOUT_SECONDS)
    assert str(error) == (
        "job j-1 cannot be read (no answer), its state is not known, after 0.3 s; it goes on"
    )


@either
@pytest.mark.parametrize(
    ("answer", "cause"),
    [(busy, ApiError), (broken, ConnectionFailed)],
)
def test_failures_are_repeated_until_the_time_is_over(
    wait: Wait,
    answer: Callable[[socket.socket, threading.Event], None],
    cause: type[DarkroomError],
) -> None:
    with serving(answer) as url:
        error = outcome_of(wait, url)
    assert isinstance(error.__cause__, cause)
    assert str(error.__cause__) in str(error)


@either
def test_an_api_that_nobody_runs(wait: Wait, darkroom: InMemoryDarkroom) -> None:
    darkroom.close()
    error = outcome_of(wait, darkroom.url)
    assert "ConnectError" in str(error)


@either
def test_a_name_that_is_being_resolved(wait: Wait, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    resolve = socket.getaddrinfo

    def hang(host: Any, *rest: Any, **options: Any) -> Any:
        if host in {"darkroom.example", b"darkroom.example"}:
            released.wait(1.5)  # asyncio waits for the thread at its end
            raise socket.gaierror("no name server answers")
        return resolve(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setenv("NO_PROXY", "*")
    try:
        error = outcome_of(wait, "http://darkroom.example")
    finally:
        released.set()
    assert "no answer" in str(error)


@either
def test_what_was_known_before_is_told(wait: Wait, darkroom: InMemoryDarkroom) -> None:
    with darkroom.kie.held():
        job = darkroom.client().enqueue(prompt="a cat", aspect_ratio="1:1")
        with serving(silent) as url:
            error = outcome_of(wait, url, last_known=job)
    assert error.state == "queued"
    assert str(error) == (
        "job j-1 cannot be read (no answer), it was queued when last read, after 0.3 s; it goes on"
    )


def test_what_was_read_during_the_wait_is_told(
    darkroom: InMemoryDarkroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom_client.http.calls.WAIT_SECONDS_MAX", 0.1)
    with darkroom.kie.held():
        job = darkroom.client().enqueue(prompt="a cat", aspect_ratio="1:1")
        answered = httpx2.get(
            f"{darkroom.url}/v1/jobs/{job.id}",
            headers={"Authorization": f"Bearer {darkroom.key}"},
            trust_env=False,
        )
    answers = iter([json.dumps(answered.json() | {"state": "running"}).encode()])

    def once(connection: socket.socket, ended: threading.Event) -> None:
        body = next(answers, None)
        if body is None:
            return silent(connection, ended)
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        return None

    with serving(once) as url:
        error = outcome_of(wait_sync, url, last_known=job)
    assert error.state == "running"
    assert "it was running when last read" in str(error)


def test_the_methods_of_a_job_tell_its_state(darkroom: InMemoryDarkroom) -> None:
    with darkroom.kie.held():
        job = darkroom.client().enqueue(prompt="a cat", aspect_ratio="1:1")
    with (
        serving(silent) as url,
        Darkroom(url) as api,
        pytest.raises(WaitTimedOut, match="it was queued when last read"),
    ):
        replace(job, _darkroom=api).wait(TIMEOUT_SECONDS)


def test_without_retries_a_failure_is_raised_as_it_is(darkroom: InMemoryDarkroom) -> None:
    darkroom.close()
    with pytest.raises(ConnectionFailed):
        Darkroom(darkroom.url, "key", retries=RetryPolicy(tries=1)).wait("j-1", 60)


@either
def test_a_refusal_is_raised_at_once(wait: Wait, darkroom: InMemoryDarkroom) -> None:
    with pytest.raises(ApiError) as refused:
        wait(darkroom.url)
    assert refused.value.status == 401
