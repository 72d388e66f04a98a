"""The simulator over its socket behaves as Kie does."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import datetime
from io import BytesIO

import aiohttp
import orjson
import pytest

from tests.integration.simulator.simulator_client import FAST, calling_simulator, wait_until
from worker.simulator.image_links import image_path


async def test_a_task_is_created_polled_and_its_images_fetched() -> None:
    async with calling_simulator(duration=0.5) as kie:
        created = await kie.create(nVariants=2, size="3:2")
        assert created.status == 200
        assert created.headers["Content-Type"] == "application/json;charset=UTF-8"
        assert created.json().keys() == {"code", "msg", "data"}
        assert (created.json()["code"], created.json()["msg"]) == (200, "success")
        task_id = created.json()["data"]["taskId"]
        assert (await kie.poll(task_id)).json()["data"]["status"] == "GENERATING"
        shown = await kie.finished(task_id)
        assert shown["status"] == "SUCCESS"
        assert '"size":"3:2"' in shown["paramJson"]
        pictures = [await kie.call("GET", url) for url in shown["response"]["resultUrls"]]
        assert [picture.headers["Content-Type"] for picture in pictures] == ["image/png"] * 2
        assert pictures[0].body != pictures[1].body
        assert pictures[0].body.startswith(b"\x89PNG")


async def test_the_credit_is_a_float() -> None:
    async with calling_simulator() as kie:
        await kie.create()
        answer = await kie.call("GET", "/api/v1/chat/credit")
        assert answer.body == b'{"code":200,"msg":"success","data":999994.0}'


async def test_a_result_url_leads_to_the_picture() -> None:
    async with calling_simulator() as kie:
        task_id = await kie.created_id()
        url = (await kie.finished(task_id))["response"]["resultUrls"][0]
        picture = await kie.call("GET", url)
        assert picture.headers["Content-Type"] == "image/png"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/gpt4o-image/task/abc"),
        ("GET", "/api/v1/gpt4o-image/details/abc"),
        ("GET", "/api/v1/gpt4o-image/generate"),
        ("POST", "/api/v1/gpt4o-image/record-info"),
        ("GET", "/gpt4o-image/record-info"),
        ("GET", "/simulators"),
        ("GET", "/"),
    ],
)
async def test_wrong_guesses_are_404(method: str, path: str) -> None:
    async with calling_simulator() as kie:
        answer = await kie.call(method, path)
        assert answer.status == 404
        body = answer.json()
        assert datetime.fromisoformat(body.pop("timestamp")).tzinfo is not None
        assert body == {
            "status": 404,
            "error": "Not Found",
            "message": "No message available",
            "path": path,
        }


async def test_json_is_sent_as_gzip_in_chunks_to_a_client_that_accepts_it() -> None:
    for config, is_packed in ((FAST, True), (replace(FAST, compress_bodies=False), False)):
        async with calling_simulator(config) as kie:
            for answer in (await kie.create(), await kie.poll("0" * 32)):
                assert (answer.headers.get("Content-Encoding") == "gzip") == is_packed
                assert (answer.headers.get("Transfer-Encoding") == "chunked") == is_packed
                assert answer.json()["code"] in (200, 422)


async def test_json_is_sent_as_it_is_to_a_client_that_does_not_accept_gzip() -> None:
    async with calling_simulator() as kie:
        url = f"{kie.simulator.base_url}/api/v1/chat/credit"
        async with kie.session.get(url, headers={"Accept-Encoding": "identity"}) as answer:
            assert not {"Content-Encoding", "Transfer-Encoding"} & set(answer.headers)
            assert (await answer.json())["code"] == 401


async def test_the_market_and_the_catalogue_are_at_their_paths() -> None:
    async with calling_simulator(duration=0.0) as kie:
        body = orjson.dumps(
            {"model": "gpt-image/1.5-text-to-image", "input": {"prompt": "x", "quality": "high"}}
        )
        refused = await kie.call("POST", "/api/v1/jobs/createTask", body)
        assert (refused.status, refused.json()["code"]) == (200, 500)
        body = body.replace(b'"quality"', b'"aspect_ratio":"3:2","quality"')
        data = (await kie.call("POST", "/api/v1/jobs/createTask", body)).json()["data"]
        assert data["taskId"] == data["recordId"]
        path = f"/api/v1/jobs/recordInfo?taskId={data['taskId']}"
        shown = (await kie.call("GET", path)).json()["data"]
        assert (shown["state"], shown["creditsConsumed"]) == ("success", 22.0)
        picture = await kie.call("GET", shown["response"]["resultUrls"][0])
        assert picture.body.startswith(b"\x89PNG")
        path = "/api/v1/models/gpt-image/1.5-text-to-image/price"
        assert "credits" in (await kie.call("GET", path)).json()["data"]["pricingDesc"]
        assert (await kie.call("GET", "/api/v1/models")).json()["code"] == 429
        assert (await kie.call("GET", "/api/v1/models/gpt-image")).status == 404


async def test_a_huge_body_is_refused_and_recorded() -> None:
    async with calling_simulator() as kie:
        huge = BytesIO(b'{"size":"1:1","prompt":"' + b"x" * 2_000_000 + b'"}')
        assert (await kie.call("POST", "/api/v1/gpt4o-image/generate", huge)).status == 413
        assert kie.simulator.record.answers["create", "413"] == 1


async def test_errors_come_as_http_200_unless_real_statuses_are_asked_for() -> None:
    async with calling_simulator() as kie:
        answer = await kie.create(size="1024x1024")
        assert (answer.status, answer.json()["code"]) == (200, 422)
        kie.simulator.set_faults(error_form="status")
        answer = await kie.create(size="1024x1024")
        assert (answer.status, answer.json()["code"]) == (422, 422)
        kie.simulator.set_faults(error_form="body", validation_code=500)
        answer = await kie.create(size="1024x1024")
        message = "size is not within the range of allowed options"
        assert (answer.status, answer.json()["code"], answer.json()["msg"]) == (200, 500, message)
        assert not kie.simulator.record.tasks


@pytest.mark.parametrize("code", [433, 455, 550])
async def test_unusual_http_statuses_can_be_sent(code: int) -> None:
    async with calling_simulator(submit_code=code, error_form="status") as kie:
        assert (await kie.create()).status == code


async def test_a_wrong_key_is_refused_everywhere() -> None:
    async with calling_simulator() as kie:
        recorded = "Unauthorized \u2013 Authentication failed. Please check that your Authorization"
        documented = "You do not have access permissions"
        for method, path, body, message in (
            ("POST", "/api/v1/gpt4o-image/generate", b'{"prompt":"x","size":"1:1"}', recorded),
            ("GET", "/api/v1/gpt4o-image/record-info?taskId=x", None, documented),
            ("GET", "/api/v1/chat/credit", None, documented),
        ):
            answer = (await kie.call(method, path, body, key="wrong")).json()
            assert answer.keys() == {"code", "msg"}
            assert answer["code"] == 401
            assert answer["msg"].startswith(message)
        assert not kie.simulator.record.tasks


async def test_a_task_exists_before_its_reply_is_on_its_way() -> None:
    config = replace(FAST, create_latency_seconds=0.3, latency_jitter=0.0)
    async with calling_simulator(config) as kie:
        begun = time.monotonic()
        call = asyncio.create_task(kie.create())
        await wait_until(lambda: len(kie.simulator.record.tasks) == 1)
        assert not call.done()
        await call
        assert time.monotonic() - begun >= 0.3


async def test_a_caller_that_disconnects_has_paid_nevertheless() -> None:
    config = replace(FAST, create_latency_seconds=30.0)
    async with calling_simulator(config) as kie:
        call = asyncio.create_task(kie.create())
        await wait_until(lambda: len(kie.simulator.record.tasks) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert kie.simulator.record.account.describe()["net"] == 6.0


async def test_polls_take_their_latency() -> None:
    async with calling_simulator(replace(FAST, poll_latency_seconds=0.1)) as kie:
        begun = time.monotonic()
        await kie.poll("nobody")
        assert time.monotonic() - begun >= 0.075


async def test_the_fourth_poll_at_once_is_429_and_the_record_says_4() -> None:
    async with calling_simulator() as kie:
        task_id = await kie.created_id()
        answers = await asyncio.gather(*(kie.poll(task_id) for _ in range(4)))
        assert sorted(answer.json()["code"] for answer in answers) == [200, 200, 200, 429]
        assert kie.simulator.record.worst_window == 4


async def test_a_lost_reply_breaks_the_connection_after_the_task_was_paid() -> None:
    async with calling_simulator(lost_reply=1) as kie:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await kie.create()
        record = kie.simulator.record
        assert (len(record.tasks), record.replies_lost) == (1, 1)
        assert record.answers["create", "closed"] == 1


async def test_a_reset_breaks_the_connection_before_there_is_a_task() -> None:
    async with calling_simulator(create_reset=1) as kie:
        with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
            await kie.create()
        assert not kie.simulator.record.tasks


async def test_a_hanging_create_outlasts_a_caller_with_a_short_timeout() -> None:
    async with calling_simulator(create_hang=1, create_hang_seconds=30) as kie:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await kie.create()
        assert len(kie.simulator.record.tasks) == 1


async def test_a_hanging_create_answers_in_the_end() -> None:
    async with calling_simulator(create_hang=1, create_hang_seconds=0.2) as kie:
        begun = time.monotonic()
        assert (await kie.create()).json()["code"] == 200
        assert time.monotonic() - begun >= 0.2


async def test_a_dropped_poll_gets_not_one_byte() -> None:
    async with calling_simulator(poll_drop=1) as kie:
        task_id = await kie.created_id()
        assert await kie.poll_bare(task_id) == b""
        assert kie.simulator.record.tasks[task_id].arrivals.total == 1


async def test_a_poll_can_meet_a_reset_connection() -> None:
    async with calling_simulator(poll_reset=1) as kie:
        task_id = await kie.created_id()
        with pytest.raises(ConnectionResetError):
            await kie.poll_bare(task_id)
        assert kie.simulator.record.tasks[task_id].arrivals.total == 1


async def test_a_hanging_poll_is_an_arrival_like_any_other() -> None:
    async with calling_simulator(poll_hang=1, poll_hang_seconds=30) as kie:
        task_id = await kie.created_id()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await kie.poll(task_id)
        assert kie.simulator.record.tasks[task_id].arrivals.total == 1


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("cloudflare", 403, b"error code: 1010"),
        ("empty", 200, b""),
        ("garbage", 200, b'{"code":200,"msg":"succ'),
        ("html", 502, b"<html>"),
    ],
)
async def test_polls_can_answer_junk(kind: str, status: int, body: bytes) -> None:
    async with calling_simulator(poll_junk=kind) as kie:
        answer = await kie.poll(await kie.created_id())
        assert answer.status == status
        assert answer.body.startswith(body)


async def test_images_are_404_after_they_expired() -> None:
    async with calling_simulator(image_lifetime_seconds=0.05) as kie:
        task_id = await kie.created_id()
        task = kie.simulator.record.tasks[task_id]
        await wait_until(lambda: time.monotonic() > task.finish_at + 0.05)
        assert (await kie.call("GET", image_path(task_id, 1))).status == 404


async def test_a_directive_reaches_through_the_socket() -> None:
    async with calling_simulator() as kie:
        prompt = "x [[sim: outcome=generate_failed, duration=0.02, failure_flag=3]]"
        shown = await kie.finished(await kie.created_id(prompt))
        assert (shown["successFlag"], shown["status"]) == (3, "GENERATE_FAILED")
        refused = await kie.create("[[sim: submit_code=422]]")
        assert refused.json()["code"] == 422
