"""The URL that Kie calls back: joined as a URL, recognised by its token, and probed."""

from __future__ import annotations

from typing import cast
from uuid import UUID

import aiohttp
import pytest

from shared.adapters.http.http_server import serve_http
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.server_clock import ServerClock
from shared.domain.callback_url import callback_url, has_token, is_unencrypted, probe_answer
from worker.callbacks.receiver import CallbackReceiver

TOKEN = "a-Token_1"
PROCESS = UUID(int=7)


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://x.example", "https://x.example/callbacks/kie/a-Token_1"),
        ("https://x.example/y?token=z", "https://x.example/y/callbacks/kie/a-Token_1?token=z"),
        ("https://x.example/y/?a=/&b=%2F", "https://x.example/y/callbacks/kie/a-Token_1?a=/&b=%2F"),
        ("http://[2001:db8::1]:8/?q", "http://[2001:db8::1]:8/callbacks/kie/a-Token_1?q"),
    ],
)
def test_path_and_query_of_the_base_are_kept(base: str, url: str) -> None:
    assert callback_url(base, TOKEN) == url
    assert has_token(url, TOKEN)
    assert not has_token(url, "another")
    assert not has_token(f"https://evil.example/?{url}", TOKEN)


def test_without_a_base_there_is_no_callback() -> None:
    assert callback_url(None, TOKEN) is None
    assert callback_url("", TOKEN) is None


def test_only_the_real_kie_over_plain_http_is_warned_of() -> None:
    kie, other = "https://api.kie.ai", "https://notkie.ai"
    assert is_unencrypted("http://x.example", kie)
    assert is_unencrypted("http://x.example", "https://eu.api.kie.ai.")
    assert not is_unencrypted("https://x.example", kie)
    assert not is_unencrypted("http://x.example", other)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"probe": "nonce-1"}, 200),
        ({"probe": "not a nonce"}, 400),
        ({"probe": 7}, 400),
        ([], 400),
        ({"taskId": "t1"}, 400),
    ],
)
async def test_a_probe_is_answered_and_stored_nowhere(body: object, status: int) -> None:
    # Any statement would fail: there is no database.
    receiver = CallbackReceiver(
        cast("Queries", None), ServerClock(), None, lambda _: None, process_id=PROCESS
    )
    async with (
        serve_http("127.0.0.1", 0, receiver.routes()) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        session.post("/callbacks/kie/probe?token=z", json=body) as answer,
    ):
        assert answer.status == status
        told = await answer.json()
    if status == 200:
        assert told == {"code": 200, "worker": probe_answer(PROCESS, "nonce-1")}
        assert PROCESS.hex not in str(told)
