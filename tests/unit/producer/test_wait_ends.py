"""`?wait=` ends before the 60 s after which common proxies give up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from producer.api.endpoint import Call
from producer.api.handlers.job_handlers import WAIT_SECONDS_MAX, show_job
from producer.jobs.end_waiter import JobEndWaiter
from producer.jobs.job_repository import ReadState
from producer.keys.roles import Role
from shared.domain.job import Job
from shared.domain.lifecycle import JobState
from shared.errors import InvalidRequest
from tests.fakes.skipping_loop import run_skipping
from tests.support.example_jobs import example_job

COMMON_PROXY_SECONDS = 60.0
JOB = example_job(state=JobState.GENERATING)


class OpenJobs:
    """A repository of one job, which does not end."""

    async def states(self, job_ids: Sequence[UUID]) -> dict[UUID, ReadState]:
        return {job_id: ReadState(JOB.state, is_announced=True) for job_id in job_ids}

    async def get(self, job_id: UUID | str) -> Job:
        return JOB


def call_with(query: str) -> Call:
    jobs: Any = OpenJobs()
    subscription: Any = SimpleNamespace(add=lambda _: None, start=lambda: None)
    waiter = JobEndWaiter(jobs, subscription)

    @asynccontextmanager
    async def until_revoked(_: object) -> AsyncIterator[None]:
        yield

    context: Any = SimpleNamespace(
        producer=SimpleNamespace(get=jobs.get, wait=waiter.wait),
        revocation_watch=SimpleNamespace(until_revoked=until_revoked),
        stopping=asyncio.Event(),
        viewers_see_prompts=True,
    )
    request = make_mocked_request(
        "GET", f"/v1/jobs/{JOB.id}{query}", match_info={"id": str(JOB.id)}
    )
    caller: Any = SimpleNamespace(role=Role.ADMIN, account_id=None)
    return Call(request, caller, context, reservation=None)  # type: ignore[arg-type]


async def answer_to(query: str) -> web.Response:
    answer = await show_job(call_with(query))
    assert isinstance(answer, web.Response)
    return answer


@pytest.mark.parametrize(
    ("query", "seconds"),
    [("?wait=60", 50), ("?wait=50.5", 50), ("?wait=49.5", 49.5), ("?wait=1", 1), ("", 0)],
)
def test_a_wait_ends_after_50_seconds_at_most(query: str, seconds: float) -> None:
    answer, took = run_skipping(answer_to(query))
    assert took == pytest.approx(seconds, abs=0.5)
    assert took < COMMON_PROXY_SECONDS - 5
    assert isinstance(answer.body, bytes)
    assert orjson.loads(answer.body)["state"] == "generating"


@pytest.mark.parametrize("given", ["60.1", "3600", "-1", "nan"])
def test_a_longer_wait_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        run_skipping(answer_to(f"?wait={given}"))
    assert f"from 0 to {WAIT_SECONDS_MAX:g}" in str(refused.value)
