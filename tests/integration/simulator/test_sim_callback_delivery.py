"""Callbacks are delivered, retried, given up, and written into the record."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace

import orjson

from tests.integration.simulator.simulator_client import (
    FAST,
    calling_simulator,
    receiving_callbacks,
    wait_until,
)
from worker.simulator.image_links import image_path

SIGNED = replace(FAST, webhook_hmac_key="k3y")


async def test_a_finished_task_is_called_back_with_its_urls_and_a_signature() -> None:
    async with receiving_callbacks() as receiver, calling_simulator(SIGNED) as kie:
        task_id = await kie.created_id(callBackUrl=receiver.address)
        await wait_until(lambda: len(receiver.bodies) == 1)
        body = orjson.loads(receiver.bodies[0])
        assert body["code"] == 200
        assert body["data"]["taskId"] == task_id
        assert body["data"]["info"]["result_urls"][0].endswith(image_path(task_id, 1))
        stamp = receiver.headers[0]["X-Webhook-Timestamp"]
        digest = hmac.new(b"k3y", f"{task_id}.{stamp}".encode(), hashlib.sha256).digest()
        expected = base64.b64encode(digest).decode()
        assert receiver.headers[0]["X-Webhook-Signature"] == expected
        assert kie.simulator.record.outcomes == {"success": 1}


async def test_a_failed_task_is_called_back_with_its_code() -> None:
    async with (
        receiving_callbacks() as receiver,
        calling_simulator(outcome="content_policy") as kie,
    ):
        await kie.create(callBackUrl=receiver.address)
        await wait_until(lambda: len(receiver.bodies) == 1)
        assert orjson.loads(receiver.bodies[0])["code"] == 400


async def test_a_refused_callback_is_tried_again_until_it_is_taken() -> None:
    async with receiving_callbacks() as receiver, calling_simulator() as kie:
        receiver.statuses = [500, 202]
        await kie.create(callBackUrl=receiver.address)
        await wait_until(lambda: kie.simulator.record.callback_answers["real", "200"] == 1)
        assert len(receiver.bodies) == 3
        assert kie.simulator.record.callback_answers == {
            ("real", "500"): 1,
            ("real", "202"): 1,
            ("real", "200"): 1,
        }
        assert [sent.delivery for sent in kie.simulator.record.callbacks] == [1, 2, 3]


async def test_a_callback_is_given_up_after_three_retries() -> None:
    async with receiving_callbacks() as receiver, calling_simulator() as kie:
        receiver.statuses = [500] * 10
        await kie.create(callBackUrl=receiver.address)
        await wait_until(lambda: kie.simulator.record.callbacks_given_up == 1)
        assert len(receiver.bodies) == 4


async def test_a_receiver_that_is_too_slow_counts_as_a_failure() -> None:
    config = replace(FAST, callback_timeout_seconds=0.05, callback_retries=0)
    async with receiving_callbacks() as receiver, calling_simulator(config) as kie:
        receiver.delay_seconds = 1.0
        await kie.create(callBackUrl=receiver.address)
        await wait_until(lambda: kie.simulator.record.callbacks_given_up == 1)
        assert kie.simulator.record.callback_answers == {("real", "timeout"): 1}


async def test_an_address_where_nobody_listens_is_noted_and_harms_nothing() -> None:
    async with calling_simulator(replace(FAST, callback_retries=0)) as kie:
        await kie.create(callBackUrl="http://127.0.0.1:9/callbacks/kie/token")
        await wait_until(lambda: kie.simulator.record.callbacks_given_up == 1)
        assert kie.simulator.record.callback_answers.total() == 1


async def test_duplicates_arrive_as_often_as_asked() -> None:
    async with receiving_callbacks() as receiver, calling_simulator(callback_duplicates=2) as kie:
        await kie.create(callBackUrl=receiver.address)
        await wait_until(lambda: kie.simulator.record.callback_answers.total() == 3)
        assert len(set(receiver.bodies)) == 1
        assert kie.simulator.record.callback_answers == {
            ("real", "200"): 1,
            ("duplicate", "200"): 2,
        }


async def test_an_early_callback_arrives_before_the_reply_and_lies() -> None:
    config = replace(FAST, create_latency_seconds=0.3, latency_jitter=0.0)
    async with (
        receiving_callbacks() as receiver,
        calling_simulator(config, callback_early=1, duration=60) as kie,
    ):
        reply = await kie.created_id(callBackUrl=receiver.address)
        assert orjson.loads(receiver.bodies[0])["data"]["taskId"] == reply
        assert (await kie.poll(reply)).json()["data"]["status"] == "GENERATING"


async def test_every_forgery_is_delivered_once_and_noted_apart() -> None:
    async with (
        receiving_callbacks() as receiver,
        calling_simulator(SIGNED, callback_forged=1, callback_forged_kind="all") as kie,
    ):
        await kie.create(callBackUrl=receiver.address)
        await wait_until(lambda: kie.simulator.record.callback_answers.total() == 8)
        kinds = {kind for kind, _ in kie.simulator.record.callback_answers}
        assert kinds == {
            "real",
            "forged_body",
            "forged_failure",
            "forged_task",
            "forged_token",
            "forged_signature",
            "forged_unsigned",
            "forged_garbage",
        }
        assert len(set(receiver.paths)) == 2


async def test_a_late_callback_waits_after_the_end() -> None:
    async with (
        receiving_callbacks() as receiver,
        calling_simulator(callback_late_seconds=0.2) as kie,
    ):
        task_id = await kie.created_id(callBackUrl=receiver.address)
        await wait_until(lambda: len(receiver.bodies) == 1)
        task = kie.simulator.record.tasks[task_id]
        assert kie.simulator.record.callbacks[0].at - task.finish_epoch >= 0.19


async def test_a_reset_cancels_earlier_callbacks() -> None:
    async with receiving_callbacks() as receiver, calling_simulator() as kie:
        before, after = "[[sim: duration=0.4]]", "[[sim: duration=0.6]]"
        await kie.create(before, callBackUrl=receiver.address + "-before")
        kie.simulator.reset()
        await kie.create(after, callBackUrl=receiver.address + "-after")
        await wait_until(lambda: kie.simulator.record.callback_answers.total() == 1)
        assert [path.rpartition("-")[2] for path in receiver.paths] == ["after"]
