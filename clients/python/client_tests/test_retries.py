"""What is sent again, after what pause, and what is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from darkroom_client import ApiError, ConnectionFailed, Darkroom, RetryPolicy, problems
from darkroom_client.http.calls import get_job
from darkroom_client.http.exchange import problem_of
from darkroom_client.testing import InMemoryDarkroom

AT_ONCE = RetryPolicy(tries=4, first_pause_seconds=0.0)


@dataclass
class FlakyProxy:
    """Stands before a Darkroom and spoils the first answers."""

    target: InMemoryDarkroom
    faults: list[str]
    """What becomes of each request in turn: `lost` (handled, and its answer lost), `cut` (half of
    the answer), a status, or `fine`. Later ones are fine."""
    seen: list[tuple[str, str | None]] = field(default_factory=list)
    """Each request: method and path, and its idempotency key."""
    url: str = ""


@contextmanager
def flaky(target: InMemoryDarkroom, *faults: str) -> Iterator[FlakyProxy]:
    proxy = FlakyProxy(target, list(faults))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            key = self.headers.get("Idempotency-Key")
            proxy.seen.append((f"{self.command} {self.path.partition('?')[0]}", key))
            fault = proxy.faults.pop(0) if proxy.faults else "fine"
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = (
                (int(fault), b"<html>busy</html>")
                if fault.isdigit()
                else pass_on(target, self, body)
            )
            if fault == "lost":
                self.close_connection = True
                return
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "0")
            if status == 504:
                self.send_header("Retry-After", "3600")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
            self.close_connection = fault == "cut"

        do_GET = do_POST = handle_any

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pass_on(
    target: InMemoryDarkroom, asked: BaseHTTPRequestHandler, body: bytes
) -> tuple[int, bytes]:
    sent = ("Authorization", "Idempotency-Key", "Content-Type")
    headers = {name: asked.headers[name] for name in sent if name in asked.headers}
    answer = httpx2.request(
        asked.command, target.url + asked.path, headers=headers, content=body, trust_env=False
    )
    return answer.status_code, answer.content


def client(proxy: FlakyProxy, retries: RetryPolicy = AT_ONCE) -> Darkroom:
    return Darkroom(proxy.url, proxy.target.key, account_id="test", retries=retries)


@pytest.mark.parametrize("faults", [("lost",), ("cut", "503"), ("502", "503"), ("429", "503")])
def test_an_order_is_placed_once_however_often_it_is_sent(
    darkroom: InMemoryDarkroom, faults: Sequence[str]
) -> None:
    with flaky(darkroom, *faults) as proxy, client(proxy) as api:
        job = api.enqueue(prompt="a lighthouse", aspect_ratio="3:2")
    assert [one.id for one in darkroom.client().jobs()] == [job.id]
    keys = {key for _, key in proxy.seen}
    assert len(proxy.seen) == len(faults) + 1
    assert len(keys) == 1
    assert keys != {None}


def test_a_given_key_is_sent_as_it_is(darkroom: InMemoryDarkroom) -> None:
    with flaky(darkroom, "lost") as proxy, client(proxy) as api:
        api.enqueue(prompt="a lighthouse", aspect_ratio="3:2", idempotency_key="order-1042")
    assert proxy.seen == [("POST /v1/jobs", "order-1042")] * 2


def test_a_cancel_is_sent_once(darkroom: InMemoryDarkroom) -> None:
    with darkroom.kie.held(), flaky(darkroom, "fine", "lost") as proxy, client(proxy) as api:
        job = api.enqueue(prompt="a lighthouse", aspect_ratio="3:2")
        with pytest.raises(ConnectionFailed):
            job.cancel()
        assert job.refresh().state == "cancelled"
    assert [path for path, _ in proxy.seen].count(f"POST /v1/jobs/{job.id}/cancel") == 1


def test_reads_are_repeated_until_the_tries_are_over(darkroom: InMemoryDarkroom) -> None:
    with flaky(darkroom, "lost", "503", "502") as proxy, client(proxy) as api:
        assert api.account().balance == 1_000
        proxy.faults = ["503"] * 4
        with pytest.raises(ApiError) as refused:
            api.account()
        assert (refused.value.status, refused.value.code) == (503, "blank")
    assert len(proxy.seen) == 8


def test_a_refusal_and_a_long_retry_after_are_raised_at_once(darkroom: InMemoryDarkroom) -> None:
    with flaky(darkroom) as proxy, client(proxy) as api:
        with pytest.raises(problems.InvalidRequest):
            api.enqueue(prompt=" ", aspect_ratio="3:2")
        proxy.faults = ["504"]
        with pytest.raises(ApiError) as refused:
            api.prices()
        assert refused.value.retry_after_seconds == 3600
    assert len(proxy.seen) == 2


def test_nobody_listens(darkroom: InMemoryDarkroom) -> None:
    darkroom.close()
    with pytest.raises(ConnectionFailed, match="ConnectError"):
        Darkroom(darkroom.url, "key", retries=AT_ONCE).prices()


@pytest.mark.parametrize(
    "body",
    [
        b'{"errors": ["no route"], "message": "busy"}',
        b'{"errors": {"code": 7}, "type": null}',
        b'{"errors": null, "detail": 1}',
        b'{"success": false, "errors": [{"code": 1003, "message": "no"}]}',
        b'{"errors": "none", "title": ["x"]}',
    ],
)
def test_refusals_of_other_servers_are_api_errors(body: bytes) -> None:
    refused = problem_of(httpx2.Response(403, content=body))
    assert (refused.status, refused.errors, refused.fields) == (403, (), {})


def test_a_redirect_is_told_and_not_followed() -> None:
    headers = {"Location": "https://darkroom.example/v1/prices?key=secret"}
    moved = problem_of(httpx2.Response(301, headers=headers, content=b"<html>moved</html>"))
    assert "redirected to https://darkroom.example/v1/prices: " in str(moved)
    assert "secret" not in str(moved)


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://x", "http://", "http://a:b@x", "http://x?y=1", "http://x:y"]
)
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: "):
        Darkroom(url)


def test_keys_that_no_header_carries_are_refused_at_once(darkroom: InMemoryDarkroom) -> None:
    with pytest.raises(ValueError, match=r"^key: ") as refused:
        Darkroom(darkroom.url, "dk_secret\n")
    assert "secret" not in str(refused.value)
    for key in ("", "é", "a\nb", " a"):
        with pytest.raises(ValueError, match=r"^idempotency_key: "):
            darkroom.client().enqueue(prompt="a cat", aspect_ratio="1:1", idempotency_key=key)


def test_pauses_grow_and_keep_apart() -> None:
    policy = RetryPolicy(tries=9, first_pause_seconds=0.5, draw=lambda: 1.0)
    busy = ApiError(503, {}, retry_after_seconds=2.0)
    assert [policy.pause_seconds(busy, failures) for failures in (1, 2, 3, 9)] == [
        *(2.5, 3.0, 4.0, None),
    ]
    lucky = RetryPolicy(first_pause_seconds=0.5, draw=lambda: 0.0)
    assert lucky.pause_seconds(ConnectionFailed("cut"), 1) == pytest.approx(0.1)
    assert policy.pause_seconds(ApiError(422, {}), 1) is None
    assert policy.pause_seconds(ValueError(), 1) is None


def test_a_wait_asks_for_less_than_proxies_allow(darkroom: InMemoryDarkroom) -> None:
    assert get_job("x", 600).query == {"wait": "45.000"}
    assert get_job("x", 600).wait_seconds == 45.0
    assert get_job("x", 0).query == {}
    started = time.monotonic()
    darkroom.kie.take(0.2)
    job = darkroom.client().enqueue(prompt="a cat", aspect_ratio="1:1")
    assert job.wait().has_succeeded
    assert time.monotonic() - started < 10
