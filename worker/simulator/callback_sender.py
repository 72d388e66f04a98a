"""Sends callbacks at their time, with the timeout and the retries of the provider."""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from .callback_plan import CallbackPost, PlannedCallback, plan_callbacks, write_callback
from .provider_state import SimulatedProvider
from .request_record import SentCallback
from .simulated_task import SimulatedTask

_log = logging.getLogger(__name__)

_STATUS_TAKEN = 200


class CallbackSender:
    """Sends callbacks until closed. Create it inside a running event loop."""

    def __init__(self, kie: SimulatedProvider) -> None:
        self._kie = kie
        self._closed = False
        self._in_flight: set[asyncio.Task[None]] = set()
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=kie.config.callback_timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "kie-simulator"},
        )

    async def close(self) -> None:
        """Stop sending. Requests in flight are cancelled."""
        self._closed = True
        in_flight = tuple(self._in_flight)
        for delivery in in_flight:
            delivery.cancel()
        await asyncio.gather(*in_flight, return_exceptions=True)
        await self._session.close()

    def schedule_callbacks(self, task: SimulatedTask) -> None:
        """Send each callback of a new task at its time."""
        kie = self._kie
        loop = asyncio.get_running_loop()
        for planned in plan_callbacks(task, kie.faults_for(task), kie.draw):
            if planned.after_seconds <= 0.0:
                self._start(task, planned)
            else:
                loop.call_later(planned.after_seconds, self._start, task, planned)

    def _start(self, task: SimulatedTask, planned: PlannedCallback) -> None:
        # After a reset the task is unknown, and a callback for it would belong to no run.
        if self._closed or task.id not in self._kie.record.tasks:
            return
        delivery = asyncio.get_running_loop().create_task(self._deliver(task, planned))
        self._in_flight.add(delivery)
        delivery.add_done_callback(self._in_flight.discard)

    async def _deliver(self, task: SimulatedTask, planned: PlannedCallback) -> None:
        kie = self._kie
        record = kie.record
        deliveries = 1 + (kie.config.callback_retries if planned.is_retried else 0)
        for number in range(1, deliveries + 1):
            if number > 1:
                await asyncio.sleep(kie.config.callback_retry_seconds)
            sent_epoch = kie.clocks.epoch()
            post = write_callback(
                task,
                planned.kind,
                base_url=kie.base_url,
                hmac_key=kie.config.webhook_hmac_key,
                timestamp=int(sent_epoch),
            )
            answer = await self._post(post)
            record.note_callback(SentCallback(sent_epoch, task.id, planned.kind, number, answer))
            if answer == str(_STATUS_TAKEN):
                return
        if planned.is_retried:
            record.callbacks_given_up += 1

    async def _post(self, post: CallbackPost) -> str:
        """Send one delivery. Returns the HTTP status, or the kind of the failure."""
        try:
            async with self._session.post(
                post.url, data=post.body, headers=post.headers, allow_redirects=False
            ) as response:
                return str(response.status)
        except TimeoutError:
            return "timeout"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            _log.debug("callback to %s failed: %s", post.url, error)
            return type(error).__name__
