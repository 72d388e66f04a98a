"""Kie's callbacks over HTTP: a hint makes a poll due or recovers a reply, and decides nothing."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from producer import JobState
from producer.doctor.callback_findings import check_callbacks
from shared.adapters.http.http_server import serve_http
from shared.adapters.postgres.database import Queries
from shared.adapters.postgres.server_clock import ServerClock
from shared.domain.job import Job
from tests.support.deployment import Deployment, eventually, fast_simulator_config, text_to_image
from tests.support.ports import free_port
from worker.bootstrap import WorkerResources
from worker.callbacks.kie_signature import kie_signature
from worker.callbacks.receiver import BODY_BYTES_MAX, CallbackReceiver
from worker.simulator import running_simulator


async def _inbox(deployment: Deployment) -> list[dict[str, Any]]:
    return await deployment.run_sql(
        "SELECT provider_task_id, times, verdict FROM callback_inbox ORDER BY id"
    )


async def _token_of(deployment: Deployment, job: Job) -> str:
    rows = await deployment.run_sql(
        "SELECT token FROM job_attempts WHERE job_id = $1 ORDER BY number DESC", job.id
    )
    return str(rows[0]["token"])


async def _call(resources: WorkerResources, token: str, body: Any, **headers: str) -> int:
    url = f"{resources.deps.settings.kie_callback_url}/callbacks/kie/{token}"
    data = BytesIO(body) if isinstance(body, bytes) else None
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            url, json=body if data is None else None, data=data, headers=headers
        ) as answer,
    ):
        return answer.status


def _body(task_id: str) -> dict[str, Any]:
    return {"code": 200, "msg": "success", "data": {"taskId": task_id, "info": None}}


async def test_a_callback_settles_the_job_long_before_its_next_poll(deployment: Deployment) -> None:
    async with deployment.worker_with_callbacks():
        job = await deployment.enqueue(text_to_image("[[sim: duration=0.5]]"))
        ended = await deployment.ended(job)
    assert ended.submitted_at is not None
    assert ended.finished_at is not None
    # The first poll is due two seconds after the submit.
    assert (ended.finished_at - ended.submitted_at).total_seconds() < 1.5
    assert [row["verdict"] for row in await _inbox(deployment)] == ["hastened"]
    await deployment.check_invariants_hold()


async def test_a_lost_reply_is_recovered_by_the_callback_and_paid_once(
    deployment: Deployment,
) -> None:
    async with deployment.worker_with_callbacks():
        job = await deployment.enqueue(text_to_image("[[sim: lost_reply=1, duration=1]]"))
        await deployment.in_state(job, "unknown")
        ended = await deployment.ended(job)
    assert ended.state is JobState.SUCCEEDED
    assert ended.credits_charged == 6
    assert len(deployment.simulator.record.tasks) == 1
    assert [row["verdict"] for row in await _inbox(deployment)] == ["confirmed"]
    deployment.check_paid_once()
    await deployment.check_invariants_hold()


async def test_a_worker_killed_before_it_stored_the_reply_loses_nothing_with_callbacks(
    deployment: Deployment,
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with deployment.worker_process(
        DARKROOM_CRASH_AT="after_post", KIE_CALLBACK_URL=url
    ) as doomed:
        job = await deployment.enqueue(text_to_image("[[sim: duration=4]]"))
        async with asyncio.timeout(20):
            assert await doomed.process.wait() == -9
    async with deployment.worker(kie_callback_url=url, worker_http_port=port):
        ended = await deployment.ended(job)
    assert ended.state is JobState.SUCCEEDED
    assert ended.credits_charged == 6
    assert len(deployment.simulator.record.tasks) == 1
    await deployment.check_invariants_hold()


async def test_duplicate_callbacks_are_one_row_and_change_nothing(deployment: Deployment) -> None:
    deployment.simulator.set_faults(callback_duplicates=3)
    async with deployment.worker_with_callbacks():
        ended = await deployment.ended(await deployment.enqueue())

        async def came_four_times() -> bool:
            return [row["times"] for row in await _inbox(deployment)] == [4]

        await eventually(came_four_times, "the callback came four times")
    assert ended.credits_charged == 6
    await deployment.check_invariants_hold()


async def test_an_early_false_success_is_not_believed(deployment: Deployment) -> None:
    deployment.simulator.set_faults(callback_early=1.0, duration=1.0)
    async with deployment.worker_with_callbacks():
        ended = await deployment.ended(await deployment.enqueue())
    assert ended.state is JobState.SUCCEEDED
    assert ended.finished_at is not None
    assert ended.submitted_at is not None
    assert (ended.finished_at - ended.submitted_at).total_seconds() >= 0.9
    await deployment.check_invariants_hold()


@pytest.mark.parametrize("kind", ["body", "failure", "task", "token", "garbage"])
async def test_a_forged_callback_moves_no_money(deployment: Deployment, kind: str) -> None:
    deployment.simulator.set_faults(callback_forged=1.0, callback_forged_kind=kind)
    async with deployment.worker_with_callbacks():
        ended = await deployment.ended(
            await deployment.enqueue(text_to_image("[[sim: duration=1]]"))
        )
    assert ended.state is JobState.SUCCEEDED
    assert all("forged" not in url for url in ended.result_urls)
    assert ended.credits_charged == 6
    await deployment.check_invariants_hold()


async def test_for_an_unknown_attempt_another_jobs_task_is_refuted(deployment: Deployment) -> None:
    async with deployment.worker_with_callbacks() as resources:
        other = await deployment.ended(await deployment.enqueue())
        deployment.simulator.set_faults(callback_lost=1.0, lost_reply=1.0)
        job = await deployment.enqueue()
        await deployment.in_state(job, "unknown")
        assert other.provider_task_id is not None
        token = await _token_of(deployment, job)
        assert await _call(resources, token, _body(other.provider_task_id)) == 200

        async def is_refuted() -> bool:
            return [row["verdict"] for row in await _inbox(deployment)][-1:] == ["refuted"]

        await eventually(is_refuted, "the offered task is refuted")
        assert (await deployment.producer.get(job.id)).state is JobState.UNKNOWN


async def test_a_success_after_the_job_was_given_up_is_kept_and_never_charged(
    deployment: Deployment,
) -> None:
    deployment.simulator.set_faults(lost_reply=1.0, duration=9.0)
    async with deployment.worker_with_callbacks(unknown_limit_seconds=1):
        job = await deployment.ended(await deployment.enqueue())
        assert job.reason == "submission_lost"

        async def is_kept() -> bool:
            return bool((await deployment.producer.get(job.id)).late_result_urls)

        await eventually(is_kept, "the late images are on the job")
    events = await deployment.run_sql("SELECT event FROM job_events ORDER BY id DESC LIMIT 1")
    assert events[0]["event"] == "delivered_late"
    await deployment.check_account(balance=10_000)
    await deployment.check_invariants_hold()


async def test_strange_callbacks_are_refused_and_nothing_is_stored(deployment: Deployment) -> None:
    async with deployment.worker_with_callbacks() as resources:
        job = await deployment.ended(await deployment.enqueue())
        before = await _inbox(deployment)
        token = await _token_of(deployment, job)
        assert await _call(resources, "no-such-token-at-all", _body("a" * 32)) == 404
        assert await _call(resources, token, b"{broken") == 400
        assert await _call(resources, token, {"data": {"info": None}}) == 400
        assert await _call(resources, token, {"data": {"taskId": "a"}, "taskId": "b"}) == 400
        assert await _call(resources, token, {"data": {"taskId": "x" * 500}}) == 400
        assert await _call(resources, token, b"[" * (BODY_BYTES_MAX + 1)) == 413
        assert await _call(resources, token, b"[" * 60_000) == 400
    assert await _inbox(deployment) == before


async def test_with_a_key_unsigned_stale_and_wrong_signatures_are_refused(
    deployment: Deployment,
) -> None:
    key = "a-webhook-key"
    async with (
        running_simulator(fast_simulator_config(webhook_hmac_key=key)) as signing,
        deployment.worker_with_callbacks(
            kie_webhook_hmac_key=SecretStr(key), kie_base_url=signing.base_url
        ) as resources,
    ):
        job = await deployment.ended(
            await deployment.enqueue(text_to_image("[[sim: duration=0.5]]"))
        )
        assert [row["verdict"] for row in await _inbox(deployment)] == ["hastened"]
        token, body = await _token_of(deployment, job), _body("b" * 32)
        now = str(int(resources.deps.clock.now().timestamp()))
        old = str(int(now) - 301)
        signed = {
            "X-Webhook-Timestamp": now,
            "X-Webhook-Signature": kie_signature(key, "b" * 32, now),
        }
        stale = {
            "X-Webhook-Timestamp": old,
            "X-Webhook-Signature": kie_signature(key, "b" * 32, old),
        }
        other = {
            "X-Webhook-Timestamp": now,
            "X-Webhook-Signature": kie_signature(key, "c" * 32, now),
        }
        assert await _call(resources, token, body) == 401
        assert await _call(resources, token, body, **stale) == 401
        assert await _call(resources, token, body, **other) == 401
        assert await _call(resources, token, body, **signed) == 200


async def test_a_task_of_another_job_is_refuted_and_delays_no_other_end(
    deployment: Deployment,
) -> None:
    deployment.simulator.set_faults(lost_reply=1.0, callback_lost=1.0, never_ends=1.0)
    async with deployment.worker_with_callbacks(unknown_limit_seconds=8) as resources:
        first, second = await deployment.enqueue(), await deployment.enqueue()
        await deployment.in_state(first, "unknown")
        await deployment.in_state(second, "unknown")
        token = await _token_of(deployment, second)
        url = f"{resources.deps.settings.kie_callback_url}/callbacks/kie/{token}"
        tasks = deployment.simulator.record.tasks.values()
        task_id = next(task.id for task in tasks if task.request.call_back_url == url)
        # An operator mixes the two up, and then Kie calls back about the second.
        await deployment.producer.resolve_submitted(first.id, task_id, reason="a mistake")
        assert await _call(resources, token, _body(task_id)) == 200
        ended = await deployment.ended(second)
    assert (ended.state, ended.reason) == (JobState.FAILED, "submission_lost")
    assert [row["verdict"] for row in await _inbox(deployment)] == ["refuted"]
    await deployment.check_invariants_hold()


async def test_the_doctor_calls_the_receiver_and_names_the_worker(deployment: Deployment) -> None:
    async with deployment.worker_with_callbacks() as resources:
        database_url = resources.servers.database_url
        settings = resources.deps.settings
        base = str(settings.kie_callback_url)
        finding = await check_callbacks(f"{base}/?token=hush", settings, database_url)
        assert finding.ok
        assert finding.detail == (
            f"POST {base}/callbacks/kie/probe reaches the worker {resources.deps.worker_name}"
        )
        async with serve_http("127.0.0.1", 0, strangers_routes()) as port:
            for path, told in (
                ("", "was answered with HTTP 404"),
                ("/page", "was answered by a server that is no worker of Darkroom"),
                ("/worker", "was answered by a worker that does not belong to this database"),
            ):
                base = f"http://127.0.0.1:{port}{path}"
                finding = await check_callbacks(base, settings, database_url)
                assert not finding.ok
                assert told in finding.detail
                assert f"forward POST {path}/callbacks/kie/probe" in (finding.fix or "")
        finding = await check_callbacks(base, settings, database_url)
        assert "got no answer" in finding.detail
        assert await _inbox(deployment) == []
    finding = await check_callbacks(base, settings, database_url)
    assert (finding.ok, finding.detail) == (
        True,
        "not called: no worker is alive that could answer",
    )


def strangers_routes() -> list[web.RouteDef]:
    """Return the routes of a page, and of a worker of another database."""

    async def show_page(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    other = CallbackReceiver(cast("Queries", None), ServerClock(), None, lambda _: None)
    return [
        web.post("/page/callbacks/kie/probe", show_page),
        *(web.post(f"/worker{one.path}", one.handler) for one in other.routes()),
    ]
