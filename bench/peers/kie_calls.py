"""The two calls to Kie of a hand-written pipeline. Runs in every peer's environment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from bench.peers.peer_settings import PeerSettings

GENERATE = "/api/v1/gpt4o-image/generate"
RECORD_INFO = "/api/v1/gpt4o-image/record-info"
_OK = 200


class KieError(Exception):
    """Kie refused a request."""


def create_body(prompt: str, quantity: int) -> dict[str, Any]:
    """Return the body that creates a task."""
    return {"prompt": prompt, "size": "1:1", "nVariants": quantity}


def read_task_id(said: dict[str, Any]) -> str:
    """Return the id of the created task. Raises KieError without one."""
    if said["code"] != _OK:
        raise KieError(f"{said['code']}: {said.get('msg')}")
    return str(said["data"]["taskId"])


def read_urls(said: dict[str, Any]) -> list[str] | None:
    """Return the URLs of the images, or None while the task is generating. Raises KieError."""
    if said["code"] != _OK:
        raise KieError(f"{said['code']}: {said.get('msg')}")
    data = said["data"]
    if data["status"] == "GENERATING":
        return None
    if data["status"] != "SUCCESS":
        raise KieError(f"{data['status']}: {data.get('errorMessage')}")
    return list(data["response"]["resultUrls"])


class Kie:
    """A session with Kie."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._generate_url = base_url + GENERATE
        self._record_info_url = base_url + RECORD_INFO

    async def create(self, prompt: str, quantity: int) -> str:
        """Create a paid task, and return its id."""
        body = create_body(prompt, quantity)
        async with self._session.post(self._generate_url, json=body) as answer:
            return read_task_id(orjson.loads(await answer.read()))

    async def poll(self, task_id: str) -> list[str] | None:
        """Return the URLs of the images, or None while the task is generating."""
        async with self._session.get(self._record_info_url, params={"taskId": task_id}) as answer:
            return read_urls(orjson.loads(await answer.read()))


@asynccontextmanager
async def open_kie(setting: PeerSettings, connections: int = 100) -> AsyncIterator[Kie]:
    """Open a session with as many connections at most."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=30),
        headers={"Authorization": f"Bearer {setting.kie_key}", "User-Agent": "a-pipeline/1"},
    ) as session:
        yield Kie(session, setting.kie_url)
