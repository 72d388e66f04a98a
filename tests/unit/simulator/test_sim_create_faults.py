"""Faults of create calls: the answer, and whether a task exists."""

from __future__ import annotations

import pytest

from tests.unit.simulator.fake_kie import CALLER, FakeKie, read
from worker.simulator.generate_route import answer_create
from worker.simulator.image_links import image_path
from worker.simulator.image_routes import answer_image
from worker.simulator.provider_state import Caller


@pytest.mark.parametrize("code", [400, 401, 402, 404, 422, 429, 433, 451, 455, 500, 505, 550])
def test_a_forced_code_creates_nothing(code: int) -> None:
    fake = FakeKie(submit_code=code)
    creation = fake.create()
    assert (creation.task, creation.reply.http_status) == (None, 200)
    assert read(creation.reply)["code"] == code
    assert fake.kie.account.balance == 1_000_000
    assert fake.kie.record.creates_refused == {f"fault_{code}": 1}


def test_a_forced_code_can_hide_a_task_that_was_created_and_charged() -> None:
    creation = FakeKie(submit_code=500, submit_code_creates=True).create()
    assert read(creation.reply)["code"] == 500
    assert creation.task is not None
    assert creation.task.reply_lost


def test_a_forced_code_can_concern_a_share_of_creates() -> None:
    fake = FakeKie(submit_code=550, submit_code_rate=0.5)
    fake.kie.create_limit.limit = 0
    created = sum(fake.create().task is not None for _ in range(400))
    assert 150 < created < 250


def test_a_prompt_can_be_refused_only_a_few_times() -> None:
    fake = FakeKie()
    prompt = "[[sim: submit_code=429, submit_code_times=2]]"
    assert [fake.create(prompt).task is None for _ in range(4)] == [True, True, False, False]
    assert fake.create(prompt + " another").task is None


@pytest.mark.parametrize(
    ("kind", "http_status", "body"),
    [
        ("html", 502, b"<html>"),
        ("html_200", 200, b"<!DOCTYPE"),
        ("empty", 200, b""),
        ("garbage", 200, b'{"code":200'),
        ("not_object", 200, b"[]"),
        ("cloudflare", 403, b"error code: 1010"),
    ],
)
def test_junk_is_no_envelope_and_creates_nothing(kind: str, http_status: int, body: bytes) -> None:
    creation = FakeKie(create_junk=kind).create()
    assert creation.task is None
    assert creation.reply.http_status == http_status
    assert creation.reply.body.startswith(body)


def test_junk_can_hide_a_task_that_was_created() -> None:
    fake = FakeKie(create_junk="html", create_junk_creates=True)
    creation = fake.create()
    assert creation.task is not None
    assert creation.reply.http_status == 502
    assert fake.kie.record.replies_lost == 1


def test_junk_can_concern_no_create_at_all() -> None:
    assert FakeKie(create_junk="html", create_junk_rate=0).create().task is not None


def test_a_reset_comes_before_the_task_exists() -> None:
    creation = FakeKie(create_reset=1).create()
    assert (creation.task, creation.reply.ending) == (None, "reset")


def test_a_lost_reply_leaves_a_task_that_was_charged() -> None:
    fake = FakeKie(lost_reply=1)
    creation = fake.create()
    assert creation.reply.ending == "close"
    assert creation.task is not None
    assert fake.kie.account.describe()["spent"] == 6.0
    assert fake.kie.record.replies_lost == 1


def test_a_hanging_create_answers_late_about_a_task_that_exists() -> None:
    creation = FakeKie(create_hang=1, create_hang_seconds=7).create()
    assert creation.task is not None
    assert creation.reply.extra_delay_seconds == 7
    assert read(creation.reply)["data"] == {"taskId": creation.task.id}


def test_validation_failures_can_carry_code_500() -> None:
    fake = FakeKie(validation_code=500)
    assert read(fake.create(size="1024x1024").reply)["code"] == 500


def test_a_body_that_is_not_json_is_400() -> None:
    fake = FakeKie()
    assert read(answer_create(fake.kie, CALLER, b"{").reply)["code"] == 400
    assert fake.kie.record.creates_refused == {"not_json": 1}


def test_unknown_fields_are_counted_in_the_record() -> None:
    fake = FakeKie()
    fake.create(style="oil", quality="high")
    fake.create(style="ink")
    assert fake.kie.record.unknown_fields == {"style": 2, "quality": 1}


@pytest.mark.parametrize(
    ("form", "http_status", "is_envelope"),
    [("body", 200, True), ("status", 429, True), ("bare", 429, False)],
)
def test_an_error_has_three_forms(form: str, http_status: int, is_envelope: bool) -> None:
    reply = FakeKie(submit_code=429, error_form=form).create().reply
    assert (reply.http_status, reply.body.startswith(b"{")) == (http_status, is_envelope)


def test_error_forms_can_be_mixed() -> None:
    fake = FakeKie(submit_code=429, error_form="mixed")
    fake.kie.create_limit.limit = 0
    replies = [fake.create().reply for _ in range(60)]
    forms = {(reply.http_status, reply.content_type.partition(";")[0]) for reply in replies}
    assert forms == {
        (200, "application/json"),
        (429, "application/json"),
        (429, "text/plain"),
    }


def test_the_whole_account_can_be_refused() -> None:
    fake = FakeKie()
    task = fake.created()
    fake.kie.faults = FakeKie(account_code=433).kie.faults
    assert read(fake.create().reply)["code"] == 433
    assert read(fake.poll(task.id))["code"] == 433


@pytest.mark.parametrize("agent", ["", "Python/3.11 aiohttp/3.14.5", "python-requests/2.32"])
def test_a_default_user_agent_can_meet_cloudflare(agent: str) -> None:
    fake = FakeKie(refuse_default_user_agent=True)
    caller = Caller(CALLER.authorization, agent)
    reply = fake.poll("x", caller)
    assert (reply.http_status, reply.body) == (403, b"error code: 1010")
    assert read(fake.poll("x"))["code"] == 422


def test_bursts_come_and_go_for_the_calls_they_concern() -> None:
    fake = FakeKie(burst_code=550, burst_every_seconds=30, burst_seconds=5)
    in_burst = []
    for _ in range(8):
        in_burst.append(fake.create().task is None)
        fake.time.advance(5)
    assert in_burst == [True, False, False, False, False, False, True, False]


@pytest.mark.parametrize(
    ("scope", "create", "poll"), [("create", 455, 422), ("poll", 200, 455), ("all", 455, 455)]
)
def test_a_burst_concerns_creates_polls_or_all(scope: str, create: int, poll: int) -> None:
    fake = FakeKie(burst_code=455, burst_scope=scope, burst_every_seconds=0)
    assert read(fake.create().reply)["code"] == create
    assert read(fake.poll("nobody"))["code"] == poll


@pytest.mark.parametrize(
    ("switches", "ending"), [({"poll_drop": 1}, "close"), ({"poll_reset": 1}, "reset")]
)
def test_a_poll_can_lose_its_connection(switches: dict[str, object], ending: str) -> None:
    fake = FakeKie(**switches)
    assert fake.poll(fake.created().id).ending == ending


def test_a_poll_can_hang() -> None:
    fake = FakeKie(poll_hang=1, poll_hang_seconds=9)
    assert fake.poll(fake.created().id).extra_delay_seconds == 9


def test_only_the_first_polls_of_a_task_can_fail() -> None:
    fake = FakeKie(poll_code=500, poll_code_times=2)
    task = fake.created()
    assert [read(fake.poll(task.id))["code"] for _ in range(3)] == [500, 500, 200]


def test_a_share_of_polls_can_fail() -> None:
    fake = FakeKie(poll_code=500, poll_code_rate=0)
    assert read(fake.poll(fake.created().id))["code"] == 200


def test_a_poll_can_answer_junk() -> None:
    fake = FakeKie(poll_junk="html", poll_junk_rate=1)
    assert fake.poll(fake.created().id).http_status == 502


def test_images_can_expire_and_fail() -> None:
    fake = FakeKie(image_lifetime_seconds=60)
    task = fake.created()
    path = image_path(task.id, 1)
    fake.time.advance(69)
    assert answer_image(fake.kie, path).http_status == 200
    fake.time.advance(1)
    assert answer_image(fake.kie, path).http_status == 404
    fake.kie.faults = FakeKie(image_error_rate=1).kie.faults
    assert answer_image(fake.kie, path).http_status == 503
