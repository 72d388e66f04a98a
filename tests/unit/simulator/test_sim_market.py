"""The Market of the simulator: every model of the catalog is created, polled and read."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
import pytest

from shared.catalog import ImageRequest, KieResponse, ModelFamily, list_families
from shared.domain.kie_outcomes import Accepted, Delivered, Pending, Refused
from tests.unit.simulator.fake_kie import CALLER, START_EPOCH, FakeKie, read
from worker.simulator.callback_plan import write_callback
from worker.simulator.endpoints import DEDICATED_ENDPOINT, MARKET_ENDPOINT
from worker.simulator.generate_route import answer_create
from worker.simulator.responses import SimulatedResponse


def examples() -> list[tuple[ModelFamily, ImageRequest]]:
    return [
        (family, family.validate(task, fields))
        for family in list_families().values()
        if family.kie_models
        for task, model in family.tasks.items()
        for fields in model.model_json_schema()["examples"]
    ]


def as_kie(reply: SimulatedResponse) -> KieResponse:
    return KieResponse(reply.http_status, orjson.loads(reply.body), reply.body.decode())


def submit(fake: FakeKie, family: ModelFamily, request: ImageRequest) -> SimulatedResponse:
    built = family.build_submit(request, callback_url="http://here/callbacks/kie/t")
    assert built.path == MARKET_ENDPOINT.create_path
    return answer_create(fake.kie, CALLER, orjson.dumps(built.body), MARKET_ENDPOINT).reply


def finished(fake: FakeKie, prompt: str = "x") -> dict[str, Any]:
    task = fake.created_by_market(prompt)
    fake.time.advance(10)
    return fake.shown(task)


@pytest.mark.parametrize(("family", "request_"), examples())
def test_each_example_of_each_family_is_made_and_charged_by_its_variant(
    family: ModelFamily, request_: ImageRequest
) -> None:
    fake = FakeKie()
    accepted = family.read_submit(as_kie(submit(fake, family, request_)))
    assert isinstance(accepted, Accepted)
    task_id = accepted.task_id
    fake.time.advance(5)
    running = as_kie(fake.poll(task_id, endpoint=MARKET_ENDPOINT))
    assert isinstance(family.read_poll(running), Pending)
    assert family.read_callback_url(running) == "http://here/callbacks/kie/t"
    fake.time.advance(5)
    delivered = family.read_poll(as_kie(fake.poll(task_id, endpoint=MARKET_ENDPOINT)))
    assert isinstance(delivered, Delivered)
    assert len(delivered.result_urls) == 1
    models = {one.credits[request_.price_variant or ""] for one in family.kie_models}
    assert Decimal(str(fake.kie.account.describe()["net"])) in models


def test_the_record_of_a_task_passes_through_the_markets_states() -> None:
    fake = FakeKie()
    task = fake.created_by_market("a lighthouse")
    states = []
    for _ in range(4):
        shown = fake.shown(task)
        states.append(shown["state"])
        assert ("creditsConsumed" in shown) == (shown["state"] == "generating")
        fake.time.advance(0.4)
    assert states == ["waiting", "waiting", "queuing", "generating"]
    assert (shown["resultJson"], shown["failCode"], shown["failMsg"]) == ("", None, None)
    assert (shown["costTime"], shown["completeTime"]) == (None, None)


@pytest.mark.parametrize(
    ("model", "task_input", "ratio"),
    [
        ("flux1-kontext", {}, "16:9"),
        ("flux1-kontext", {"aspect_ratio": "9:16"}, "9:16"),
        ("gpt-image-2-text-to-image", {"aspect_ratio": "auto"}, "1:1"),
        ("4o-image-api", {"size": "3:2"}, "3:2"),
    ],
)
def test_an_image_has_the_ratio_that_was_asked_for_or_the_models_own(
    model: str, task_input: Mapping[str, Any], ratio: str
) -> None:
    task = FakeKie().create_by_market(model, prompt="x", **task_input).task
    assert task is not None
    assert task.request.size == ratio


def test_a_success_has_its_urls_twice_and_its_duration_in_seconds() -> None:
    shown = finished(FakeKie())
    assert shown["state"] == "success"
    assert orjson.loads(shown["resultJson"]) == shown["response"]
    assert (shown["costTime"], shown["creditsConsumed"]) == (10, 6.0)
    assert shown["createTime"] == START_EPOCH * 1000
    assert shown["completeTime"] == (START_EPOCH + 10) * 1000
    echoed = orjson.loads(shown["param"])
    assert list(echoed) == ["input", "callBackUrl", "model"]
    assert orjson.loads(echoed["input"]) == {"prompt": "x", "size": "1:1"}


@pytest.mark.parametrize(
    ("outcome", "code", "message"),
    [
        ("try_again", "400", "Internal Error, Please try again later."),
        ("upload_failed", "500", "Upload failed: Server internal error."),
        ("upstream_timed_out", "500", "upstream API service timed out"),
        ("nsfw", "400", "nsfw"),
        ("image_fetch_failed", "451", "Failed to download the image"),
    ],
)
def test_a_failure_has_its_code_as_text_and_costs_nothing(
    outcome: str, code: str, message: str
) -> None:
    fake = FakeKie(outcome=outcome)
    shown = finished(fake)
    assert (shown["state"], shown["failCode"], shown["failMsg"]) == ("fail", code, message)
    assert (shown["resultJson"], shown["creditsConsumed"]) == ("", 0.0)
    assert fake.kie.account.describe()["net"] == 0.0


def test_a_task_can_fail_when_it_is_created() -> None:
    fake = FakeKie(outcome="failed_at_once")
    shown = fake.shown(fake.created_by_market())
    assert (shown["failCode"], shown["completeTime"], shown["costTime"]) == ("422", None, None)


@pytest.mark.parametrize("state", ["waiting", "queuing", "generating"])
def test_a_task_can_stay_in_one_state_while_it_runs(state: str) -> None:
    fake = FakeKie(running_state=state)
    task = fake.created_by_market()
    fake.time.advance(9)
    assert fake.shown(task)["state"] == state


@pytest.mark.parametrize(
    ("form", "filled"),
    [
        ("object", {"resultJson", "response"}),
        ("string", {"response"}),
        ("null", set()),
        ("comma", {"response"}),
        ("top", {"resultUrls"}),
        ("result_json", {"resultJson"}),
        ("objects", {"response"}),
        ("broken", {"response"}),
    ],
)
def test_the_switches_of_the_record_hold_for_the_market(form: str, filled: set[str]) -> None:
    shown = finished(FakeKie(response_form=form, omit_status=True, failure_flag=3))
    assert {name for name in ("resultJson", "response", "resultUrls") if shown.get(name)} == filled
    assert "state" not in shown
    assert shown["successFlag"] == 1


def test_the_other_switches_hold_for_the_market() -> None:
    fake = FakeKie()
    marked = fake.created_by_market("[[sim: outcome=generate_failed, failure_flag=3, duration=1]]")
    lost = fake.create_by_market(size="1:1", prompt="[[sim: lost_reply=1]]")
    refused = fake.create_by_market(size="1:1", prompt="[[sim: submit_code=429]]")
    fake.time.advance(1)
    assert fake.shown(marked)["successFlag"] == 3
    assert (lost.reply.ending, lost.task is None) == ("close", False)
    assert (read(refused.reply)["code"], refused.task) == (429, None)
    assert finished(FakeKie(success_without_urls=1))["response"] == {"resultUrls": []}


@pytest.mark.parametrize(
    ("model", "task_input", "message"),
    [
        ("4o-image-api", {"prompt": "x"}, "This field is required"),
        ("4o-image-api", {"size": "4:7"}, "size is not within the range of allowed options"),
        ("4o-image-api", {"size": "1:1", "files_url": [""]}, "This field is required"),
        ("4o-image-api", {"size": "1:1", "files_url": ["u"] * 6}, "files_url has more entries"),
        ("gpt-image-2-text-to-image", {"prompt": ""}, "prompt is shorter than 1"),
        ("gpt-image-2-text-to-image", {"prompt": "x" * 20_001}, "prompt is longer than 20,000"),
        (
            "gpt-image-2-text-to-image",
            {"prompt": "x", "resolution": "4K", "aspect_ratio": "1:1"},
            "aspect_ratio is not supported here",
        ),
        ("gpt-image-2-text-to-image", {"prompt": "x", "resolution": "2K"}, "This field is requ"),
    ],
)
def test_a_wrong_input_is_code_500_in_the_words_that_kie_was_recorded_to_send(
    model: str, task_input: Mapping[str, Any], message: str
) -> None:
    fake = FakeKie()
    creation = fake.create_by_market(model, **task_input)
    told = read(creation.reply)
    assert (creation.reply.http_status, told["code"], creation.task) == (200, 500, None)
    assert told["msg"].startswith(message)
    assert fake.kie.record.creates_refused == {"validation": 1}
    assert fake.kie.account.describe()["spent"] == 0


@pytest.mark.parametrize("model", ["gpt-4o-image", "custom_4o_image", "gpt image 2, 1k"])
def test_a_model_that_the_market_does_not_have_is_422(model: str) -> None:
    fake = FakeKie()
    assert read(fake.create_by_market(model, size="1:1").reply)["code"] == 422
    assert fake.kie.record.creates_refused == {"unknown_model": 1}


@pytest.mark.parametrize(
    "body", [{}, {"model": "4o-image-api"}, {"model": "4o-image-api", "input": 1}]
)
def test_a_request_without_a_model_or_an_input_is_refused(body: object) -> None:
    reply = answer_create(FakeKie().kie, CALLER, orjson.dumps(body), MARKET_ENDPOINT).reply
    assert read(reply)["code"] == 500


def test_nulls_and_fields_that_a_model_does_not_have_are_ignored_and_listed() -> None:
    fake = FakeKie()
    creation = fake.create_by_market(size="1:1", prompt=None, files_url=None, nVariants=4)
    assert creation.task is not None
    assert fake.kie.record.unknown_fields == {"nVariants": 1}
    assert fake.kie.account.describe()["net"] == 6.0


def test_a_task_is_unknown_by_the_other_endpoint_and_its_limit_is_another() -> None:
    fake = FakeKie()
    task = fake.created_by_market()
    assert (
        read(fake.poll(task.id, endpoint=DEDICATED_ENDPOINT))["msg"] == "The record does not exist"
    )
    other = fake.created()
    assert read(fake.poll(other.id, endpoint=MARKET_ENDPOINT))["msg"] == "recordInfo is null"
    fake.time.advance(1)
    codes = [read(fake.poll(task.id, endpoint=MARKET_ENDPOINT))["code"] for _ in range(11)]
    assert codes == [200] * 10 + [429]


def test_the_record_names_the_endpoint_and_the_model_of_each_task() -> None:
    fake = FakeKie()
    fake.created()
    fake.created_by_market()
    summary: Any = fake.kie.record.summary()
    assert summary["tasks"]["by_endpoint"] == {
        "dedicated": {"gpt-4o-image": 1},
        "market": {"4o-image-api": 1},
    }


@pytest.mark.parametrize(
    ("retired", "answers"),
    [
        ("none", (200, 200, 200)),
        ("generate", (404, 200, 200)),
        ("dedicated", (404, 404, 200)),
        ("market", (200, 200, 404)),
    ],
)
def test_an_endpoint_can_be_retired(retired: str, answers: tuple[int, ...]) -> None:
    fake = FakeKie()
    old = fake.created()
    fake.kie.faults = FakeKie(retired_routes=retired).kie.faults
    create, poll = fake.create(), fake.poll(old.id)
    market = fake.create_by_market(size="1:1")
    replies = (create.reply, poll, market.reply)
    assert tuple(reply.http_status for reply in replies) == answers
    for reply in replies:
        if reply.http_status == 404:
            assert read(reply)["message"] == "No message available"


def test_a_price_can_move_on_both_endpoints() -> None:
    fake = FakeKie(price_factor=1.5)
    fake.created()
    fake.created_by_market()
    assert fake.kie.account.describe()["net"] == 18.0


def test_a_model_and_a_field_can_be_gone() -> None:
    gone = FakeKie(gone_model="4o-image-api")
    assert read(gone.create_by_market(size="1:1").reply)["code"] == 422
    paused = FakeKie(paused_model="4o-image-api")
    assert read(paused.create_by_market(size="1:1").reply) == {
        "code": 500,
        "msg": "This interface is temporarily paused",
        "data": None,
    }
    fake = FakeKie(gone_field="resolution")
    made = fake.create_by_market(
        "gpt-image-2-text-to-image", prompt="x", resolution="4K", aspect_ratio="16:9"
    )
    assert made.task is not None
    assert made.task.credits == 6
    assert fake.kie.record.unknown_fields == {"resolution": 1}


def test_a_refused_request_is_read_as_refused_by_the_family() -> None:
    family = list_families()["4o-image-api"]
    reply = FakeKie().create_by_market(prompt="x").reply
    assert isinstance(family.read_submit(as_kie(reply)), Refused)


@pytest.mark.parametrize(
    ("kind", "outcome", "code", "state"),
    [
        ("real", "success", 200, "success"),
        ("real", "generate_failed", 501, "fail"),
        ("real", "content_policy", 400, "fail"),
        ("early", "generate_failed", 200, "success"),
        ("forged_body", "success", 200, "success"),
        ("forged_failure", "success", 501, "fail"),
        ("forged_task", "success", 200, "success"),
    ],
)
def test_a_callback_is_the_record_itself(kind: str, outcome: str, code: int, state: str) -> None:
    task = FakeKie(outcome=outcome).created_by_market()
    post = write_callback(task, kind, base_url="http://sim", hmac_key="k", timestamp=1)
    told = orjson.loads(post.body)
    data = told["data"]
    assert (told["code"], data["state"], data["model"]) == (code, state, "4o-image-api")
    assert (data["taskId"] == task.id) == (kind != "forged_task")
    assert ("failCode" in data) == (state == "fail")
    assert bool(data["resultJson"]) == (state == "success")
    assert data["updateTime"] == data["completeTime"]
    assert "info" not in data


def test_an_input_image_that_is_gone_fails_the_task_with_451() -> None:
    fake = FakeKie()
    task = fake.created_by_market(files_url=["http://sim/files/gone.png"])
    fake.time.advance(10)
    assert fake.shown(task)["failCode"] == "451"
