"""Every form of Kie's callbacks names its task, whatever the request in it contains."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from shared.adapters.http.http_server import serve_http
from shared.adapters.postgres.server_clock import ServerClock
from worker.callbacks.receiver import CallbackReceiver

TASK = "ed578231bfed231f0884c564579a965d"
URL = "https://tempfile.aiquickdraw.com/images/chatgpt/one.png"


class Inbox:
    """Knows every token, and keeps what is stored."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, str]] = []

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        return []

    async def fetch_row(self, query: str, *args: Any) -> Any:
        if query == "receive_callback":
            self.stored.append((args[0], args[1]))
        return {"id": len(self.stored), "times": 1, "is_handled": False}


def record(state: str, prompt: str = "a lighthouse", **fields: Any) -> dict[str, Any]:
    """Return the record of a task of the Market, in which Kie repeats the request as text."""
    task_input = json.dumps({"aspect_ratio": "auto", "prompt": prompt})
    model = "gpt-image-2-text-to-image"
    url = "https://here.example/callbacks/kie/token1"
    param = json.dumps({"input": task_input, "callBackUrl": url, "model": model})
    return {"taskId": TASK, "model": model, "state": state, "param": param, **fields}


SUCCESS: dict[str, Any] = {
    "resultJson": json.dumps({"resultUrls": [URL]}),
    "creditsConsumed": 6,
    "costTime": 83,
    "createTime": 1786432746000,
    "completeTime": 1786432830000,
    "updateTime": 1786432830000,
}
FAILURE: dict[str, Any] = {
    "resultJson": "",
    "failCode": "501",
    "failMsg": "Image generation task failed",
}


@pytest.mark.parametrize(
    "body",
    [
        {"code": 200, "msg": "success", "data": {"taskId": TASK, "info": {"result_urls": [URL]}}},
        {"code": 400, "msg": "no", "data": {"taskId": TASK, "info": None}},
        {"taskId": TASK, "code": 200, "data": {"task_id": TASK, "callbackType": "task_completed"}},
        {
            "code": 200,
            "msg": "Playground task completed successfully.",
            "data": record("success", **SUCCESS),
        },
        {"code": 501, "msg": "failed", "data": record("fail", **FAILURE)},
        {"code": 200, "msg": "success", "data": record("success", '"' * 20_000, **SUCCESS)},
        {"code": 200, "msg": "success", "data": record("success", "\u2603\n" * 10_000, **SUCCESS)},
    ],
    ids=["4o", "4o-failed", "task_id", "market", "market-failed", "quotes", "other-scripts"],
)
async def test_a_callback_is_stored_with_the_task_that_it_names(body: dict[str, Any]) -> None:
    inbox = Inbox()
    received: list[int] = []
    receiver = CallbackReceiver(inbox, ServerClock(), None, received.append)
    async with (
        serve_http("127.0.0.1", 0, receiver.routes()) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        session.post("/callbacks/kie/token1", json=body) as answer,
    ):
        assert answer.status == 200
    assert inbox.stored == [("token1", TASK)]
    assert received == [1]
