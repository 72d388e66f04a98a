"""Places orders over the HTTP API, as a caller that expects any reply to be lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp

from producer import Order
from tests.campaign.campaign_orders import SHORT_ACCOUNT

_TRY_SECONDS = 15.0
_AGAIN_AFTER_SECONDS = 0.2
_AT_ONCE = 20
_ACCEPTED, _TOO_FEW_CREDITS, _TOO_LATE, _BROKEN = 202, 402, 409, 500


class UnexpectedAnswer(Exception):
    """The API gave a response that it must not give. The missing orders fail the campaign."""


class HttpOrders:
    """Repeats every POST, under the same Idempotency-Key, until it is answered."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, refused: Path) -> None:
        self._session = session
        self._base_url = base_url
        self._refused = refused
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def place(self, order: Order, *, times: int = 1) -> str | None:
        """Place the order so many times at once. Return its job's id, or None if it is refused.

        Raises `UnexpectedAnswer`, also where one key was given two jobs.
        """
        async with self._slots:
            placed = await asyncio.gather(*(self._place(order) for _ in range(times)))
        if len(set(placed)) != 1:
            raise UnexpectedAnswer(f"{order.idempotency_key} is the jobs {placed}")
        return placed[0]

    async def _place(self, order: Order) -> str | None:
        headers = {"Idempotency-Key": str(order.idempotency_key)}
        status, answer = await self._repeat_until_served("/v1/jobs", _body(order), headers)
        if status == _TOO_FEW_CREDITS and order.account_id == SHORT_ACCOUNT:
            with self._refused.open("a", encoding="ascii") as refused:
                refused.write(f"{order.idempotency_key}\n")
            return None
        if status != _ACCEPTED:
            raise UnexpectedAnswer(f"{order.idempotency_key} was answered {status}: {answer}")
        return str(answer["id"])

    async def take_back(self, job_id: str) -> None:
        """Cancel the job, which may be too late."""
        status, answer = await self._repeat_until_served(f"/v1/jobs/{job_id}/cancel", None, {})
        # A lost reply to an earlier cancel leads to "too late" as well.
        if status not in {200, _ACCEPTED, _TOO_LATE}:
            raise UnexpectedAnswer(f"cancelling {job_id} was answered {status}: {answer}")

    async def _repeat_until_served(
        self, path: str, body: dict[str, Any] | None, headers: dict[str, str]
    ) -> tuple[int, Any]:
        """Repeat the request while the connection breaks or the API is unavailable."""
        timeout = aiohttp.ClientTimeout(total=_TRY_SECONDS)
        while True:
            try:
                async with self._session.post(
                    f"{self._base_url}{path}", json=body, headers=headers, timeout=timeout
                ) as answer:
                    if answer.status < _BROKEN:
                        return answer.status, await answer.json(content_type=None)
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(_AGAIN_AFTER_SECONDS)


def _body(order: Order) -> dict[str, Any]:
    request = order.request
    return {
        **request.model_dump(mode="json", exclude_none=True),
        "model": request.model,
        "task": request.task,
        "account_id": order.account_id,
        "priority": order.priority,
        **({"webhook_url": order.webhook_url} if order.webhook_url else {}),
    }
