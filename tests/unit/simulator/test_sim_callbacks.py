"""Which callbacks a task causes, and what they carry."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import orjson
import pytest

from tests.unit.simulator.fake_kie import FakeKie
from worker.simulator.callback_plan import (
    FORGED_KINDS,
    CallbackPost,
    PlannedCallback,
    plan_callbacks,
    write_callback,
)
from worker.simulator.simulated_task import SimulatedTask

ADDRESS = "https://worker.example/callbacks/kie/0123456789abcdef?job=7"


def planned(fake: FakeKie) -> list[tuple[str, float]]:
    task = fake.created(callBackUrl=ADDRESS)
    plan = plan_callbacks(task, fake.kie.faults_for(task), fake.kie.draw)
    return [(callback.kind, callback.after_seconds) for callback in plan]


def written(task: SimulatedTask, kind: str, key: str = "k3y") -> CallbackPost:
    return write_callback(task, kind, base_url="http://sim", hmac_key=key, timestamp=1_800_000_000)


def body_of(post: CallbackPost) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(post.body)
    return body


def signature(task_id: str) -> str:
    digest = hmac.new(b"k3y", f"{task_id}.1800000000".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def test_a_healthy_task_is_called_back_once_when_it_ends() -> None:
    assert planned(FakeKie()) == [("real", 10.0)]


def test_a_task_without_an_address_is_never_called_back() -> None:
    fake = FakeKie(callback_early=1, callback_duplicates=3)
    assert plan_callbacks(fake.created(), fake.kie.faults, fake.kie.draw) == ()


def test_a_task_that_never_ends_is_never_called_back() -> None:
    assert planned(FakeKie(never_ends=1)) == []


def test_callbacks_can_be_lost_late_and_duplicate() -> None:
    assert planned(FakeKie(callback_lost=1)) == []
    assert planned(FakeKie(callback_late_seconds=30)) == [("real", 40.0)]
    assert planned(FakeKie(callback_duplicates=2)) == [
        ("real", 10.0),
        ("duplicate", 10.0),
        ("duplicate", 10.0),
    ]


def test_an_early_callback_comes_at_once_and_the_real_one_still_follows() -> None:
    assert planned(FakeKie(callback_early=1)) == [("early", 0.0), ("real", 10.0)]


def test_a_forged_callback_comes_while_the_task_runs() -> None:
    assert planned(FakeKie(callback_forged=1)) == [("forged_body", 2.0), ("real", 10.0)]
    assert planned(FakeKie(callback_forged=1, duration=1))[0] == ("forged_body", 0.5)


def test_every_kind_of_forgery_can_be_sent_for_one_task() -> None:
    kinds = [kind for kind, _ in planned(FakeKie(callback_forged=1, callback_forged_kind="all"))]
    assert kinds == [*(f"forged_{kind}" for kind in FORGED_KINDS), "real"]


def test_only_genuine_callbacks_are_retried() -> None:
    insisting = {
        kind: PlannedCallback(kind, 0.0).is_retried
        for kind in ("real", "duplicate", "early", "forged_body")
    }
    assert insisting == {"real": True, "duplicate": True, "early": False, "forged_body": False}


def test_a_success_carries_the_urls_and_a_signature_over_id_and_time() -> None:
    task = FakeKie().created(callBackUrl=ADDRESS, nVariants=2)
    post = written(task, "real")
    assert post.url == ADDRESS
    assert body_of(post) == {
        "code": 200,
        "msg": "success",
        "data": {"taskId": task.id, "info": {"result_urls": task.result_urls("http://sim")}},
    }
    assert post.headers["X-Webhook-Timestamp"] == "1800000000"
    assert post.headers["X-Webhook-Signature"] == signature(task.id)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("generate_failed", 500),
        ("content_policy", 400),
        ("image_fetch_failed", 451),
        ("unknown_status", 500),
    ],
)
def test_a_failure_carries_its_code_and_no_info(outcome: str, code: int) -> None:
    task = FakeKie(outcome=outcome).created(callBackUrl=ADDRESS)
    body = body_of(written(task, "real"))
    assert body["code"] == code
    assert body["msg"]
    assert body["data"] == {"taskId": task.id, "info": None}


def test_without_a_key_nothing_is_signed() -> None:
    post = written(FakeKie().created(callBackUrl=ADDRESS), "real", key="")
    assert post.headers == {"Content-Type": "application/json"}


def test_an_early_callback_claims_success_even_for_a_task_that_will_fail() -> None:
    task = FakeKie(outcome="generate_failed").created(callBackUrl=ADDRESS)
    body = body_of(written(task, "early"))
    assert (body["code"], len(body["data"]["info"]["result_urls"])) == (200, 1)


def test_an_invented_body_comes_under_a_good_signature() -> None:
    task = FakeKie().created(callBackUrl=ADDRESS)
    post = written(task, "forged_body")
    assert body_of(post)["data"]["info"]["result_urls"] == ["https://forged.invalid/picture.png"]
    assert post.headers["X-Webhook-Signature"] == signature(task.id)


def test_an_invented_failure_says_the_task_failed() -> None:
    task = FakeKie().created(callBackUrl=ADDRESS)
    assert body_of(written(task, "forged_failure"))["code"] == 400


def test_a_forged_task_id_belongs_to_nobody_and_is_signed() -> None:
    task = FakeKie().created(callBackUrl=ADDRESS)
    post = written(task, "forged_task")
    other = body_of(post)["data"]["taskId"]
    assert other != task.id
    assert len(other) == 32
    assert post.headers["X-Webhook-Signature"] == signature(other)


def test_a_forged_token_keeps_the_form_of_the_address() -> None:
    post = written(FakeKie().created(callBackUrl=ADDRESS), "forged_token")
    head, _, tail = post.url.rpartition("/")
    assert head == "https://worker.example/callbacks/kie"
    assert tail.endswith("?job=7")
    assert len(post.url) == len(ADDRESS)
    assert post.url != ADDRESS


def test_a_forged_signature_does_not_match_and_a_missing_one_is_missing() -> None:
    task = FakeKie().created(callBackUrl=ADDRESS)
    forged = written(task, "forged_signature").headers["X-Webhook-Signature"]
    assert forged != signature(task.id)
    assert "X-Webhook-Signature" not in written(task, "forged_unsigned").headers


def test_forged_garbage_is_no_json() -> None:
    post = written(FakeKie().created(callBackUrl=ADDRESS), "forged_garbage")
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(post.body)
