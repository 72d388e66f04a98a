"""Waits for the end of a job, and ends in time itself."""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic

from darkroom_client.errors import WaitTimedOut
from darkroom_client.generated.models import JobFields
from darkroom_client.http.async_connection import AsyncConnection
from darkroom_client.http.calls import ENDED, get_job
from darkroom_client.http.deadline import within_async

LATE_SECONDS = 5.0
"""How long after its timeout a wait ends at most, for an answer that is on its way."""


async def wait_for_end(
    connection: AsyncConnection, job_id: str, timeout_seconds: float, known: JobFields | None
) -> JobFields:
    """Return a job when it has ended, or when its cancel is requested meanwhile.

    The end is pushed to a request, which is renewed every 45 s. Failed requests are repeated as
    others are, until the time is over. Raises `WaitTimedOut` with what was last known.
    """
    ends_at = monotonic() + timeout_seconds
    failures = 0
    while True:
        asked_at = monotonic()
        rest_seconds = max(ends_at - asked_at, 0.0)
        call = get_job(job_id, rest_seconds)
        once = partial(connection.send_once, call)
        try:
            job = await within_async(rest_seconds + LATE_SECONDS, once)
        except TimeoutError as error:
            raise WaitTimedOut(job_id, _state(known), timeout_seconds, error) from error
        except Exception as error:
            failures += 1
            pause_seconds = connection.pause_seconds(call, error, failures)
            await asyncio.sleep(min(pause_seconds, max(ends_at - monotonic(), 0.0)))
            if monotonic() >= ends_at:
                raise WaitTimedOut(job_id, _state(known), timeout_seconds, error) from error
            continue
        failures = 0
        known = job
        # A cancel that was requested before does not end the request early.
        is_cancelled = job.cancel_requested_at and monotonic() < asked_at + call.wait_seconds
        if job.state in ENDED or is_cancelled:
            return job
        if monotonic() >= ends_at:
            raise WaitTimedOut(job_id, job.state, timeout_seconds)


def _state(known: JobFields | None) -> str | None:
    return None if known is None else known.state
