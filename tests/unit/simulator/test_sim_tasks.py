"""The states of a task, by a clock that only the test moves."""

from __future__ import annotations

from decimal import Decimal
from itertools import count

import pytest

from tests.unit.simulator.fake_kie import CALLER, START_EPOCH, TEN_SECONDS, FakeKie, read
from worker.simulator.credit_route import answer_credit
from worker.simulator.durations import Durations
from worker.simulator.image_links import image_path
from worker.simulator.image_routes import answer_image
from worker.simulator.provider_state import Caller, SimulatedProvider
from worker.simulator.simulator_config import SimulatorConfig


def test_a_task_generates_and_then_succeeds_with_as_many_urls_as_asked() -> None:
    fake = FakeKie()
    task = fake.created(nVariants=4, size="3:2")
    assert len(task.id) == 32
    assert int(task.id, 16) >= 0
    fake.time.advance(9.999)
    before = fake.shown(task)
    assert (before["successFlag"], before["status"], before["response"]) == (0, "GENERATING", None)
    assert before["completeTime"] is None
    fake.time.advance(0.001)
    after = fake.shown(task)
    assert (after["successFlag"], after["status"], after["progress"]) == (1, "SUCCESS", "1.00")
    assert after["response"]["resultUrls"] == [
        f"http://sim{image_path(task.id, number)}" for number in (1, 2, 3, 4)
    ]
    assert task.id not in str(after["response"])
    assert after["createTime"] == START_EPOCH * 1000
    assert after["completeTime"] == (START_EPOCH + 10) * 1000


def test_progress_advances_and_does_not_betray_the_end() -> None:
    config = SimulatorConfig(durations=Durations(median_seconds=10.0, sigma=1.0), seed=4)
    fake = FakeKie(config)
    first, second = fake.created(), fake.created()
    assert first.planned.duration_seconds != second.planned.duration_seconds
    fake.time.advance(min(first.planned.duration_seconds, second.planned.duration_seconds) / 2)
    early = fake.shown(first)["progress"]
    assert early == fake.shown(second)["progress"]
    assert 0 < float(early) < 1


def test_failed_tasks_are_refunded_when_they_end_and_not_before() -> None:
    fake = FakeKie(outcome="generate_failed")
    fake.created(nVariants=2)
    assert fake.kie.account.balance == Decimal(999_993)
    fake.time.advance(10)
    assert read(answer_credit(fake.kie, CALLER))["data"] == 1_000_000.0
    assert fake.kie.account.describe()["refunded"] == 7.0


@pytest.mark.parametrize(("variants", "price"), [(1, 6), (2, 7), (4, 8)])
def test_each_quantity_has_its_price(variants: int, price: int) -> None:
    fake = FakeKie()
    assert fake.created(nVariants=variants).credits == price


def test_short_credits_refuse_and_create_nothing() -> None:
    fake = FakeKie(SimulatorConfig(starting_credits=Decimal(13)))
    fake.created(nVariants=2)
    fake.created(nVariants=1)
    refused = fake.create()
    assert (refused.task, read(refused.reply)["code"]) == (None, 402)
    assert fake.kie.record.creates_refused == {"credits": 1}
    assert fake.kie.account.balance == 0


def test_the_twenty_first_create_in_ten_seconds_is_dropped() -> None:
    fake = FakeKie()
    codes = []
    for _ in range(21):
        codes.append(read(fake.create().reply)["code"])
        fake.time.advance(0.4)
    assert codes == [200] * 20 + [429]
    fake.time.advance(1.6)
    assert fake.create().task is not None
    record = fake.kie.record
    assert len(record.tasks) == 21
    assert record.creates_refused == {"rate_limit": 1}
    assert record.creates_admitted.worst == 20
    assert record.create_arrivals.worst == 21


def test_the_create_limit_can_be_switched_off() -> None:
    fake = FakeKie(SimulatorConfig(creates_per_10_seconds=0))
    assert all(fake.create().task for _ in range(100))


def test_the_fourth_poll_in_a_second_is_refused_and_still_counted() -> None:
    fake = FakeKie()
    task = fake.created()
    codes = []
    for _ in range(4):
        codes.append(read(fake.poll(task.id))["code"])
        fake.time.advance(0.25)
    assert codes == [200, 200, 200, 429]
    assert read(fake.poll(task.id))["code"] == 429
    assert (task.arrivals.total, task.arrivals.worst) == (5, 4)
    assert fake.kie.record.worst_window == 4
    assert fake.kie.record.worst_task_id == task.id
    assert fake.kie.record.polls_over_limit == 2


def test_tasks_are_throttled_separately() -> None:
    fake = FakeKie()
    tasks = [fake.created() for _ in range(5)]
    codes = [read(fake.poll(task.id))["code"] for task in tasks for _ in range(3)]
    assert set(codes) == {200}
    assert fake.kie.record.worst_window == 3
    assert fake.kie.record.poll_arrivals.worst == 15


def test_the_poll_limit_can_be_switched_off_and_the_record_still_counts() -> None:
    fake = FakeKie(SimulatorConfig(polls_per_second_per_task=0))
    task = fake.created()
    assert {read(fake.poll(task.id))["code"] for _ in range(10)} == {200}
    assert fake.kie.record.worst_window == 10


def test_polls_of_unknown_tasks_are_counted_and_throttled_too() -> None:
    fake = FakeKie()
    answers = [read(fake.poll("0" * 32)) for _ in range(4)]
    assert answers[0] == {"code": 422, "msg": "The record does not exist", "data": None}
    assert answers[3]["code"] == 429
    assert fake.kie.record.polls_of_unknown_tasks == 4
    assert fake.kie.record.worst_window == 4


def test_a_poll_without_a_task_id_is_refused_by_name() -> None:
    assert read(FakeKie().poll(""))["msg"] == "taskId is required"


def test_a_wrong_key_is_refused_without_a_data_key_and_the_poll_still_counts() -> None:
    fake = FakeKie()
    task = fake.created()
    answer = read(fake.poll(task.id, Caller("Bearer wrong")))
    assert answer == {"code": 401, "msg": "You do not have access permissions"}
    assert task.arrivals.total == 1


def test_paying_twice_for_one_prompt_or_one_callback_address_shows_in_the_record() -> None:
    fake = FakeKie()
    for prompt, token in (("a", "t1"), ("a", "t2"), ("b", "t3"), ("c", "t3"), ("c", "t3")):
        fake.create(prompt, callBackUrl=f"http://worker/callbacks/{token}")
    summary = fake.kie.record.summary()
    assert summary["paid_more_than_once"] == {"by_prompt": 2, "by_call_back_url": 2}


def test_a_seed_repeats_durations_whatever_else_is_drawn_but_never_ids() -> None:
    config = SimulatorConfig(seed=11, durations=Durations("bimodal"))
    calm, stormy = FakeKie(config), FakeKie(config, error_form="mixed", never_ends=0.0)
    for _ in range(5):
        stormy.poll("nobody")
        stormy.kie.draw(0.5)
    ours = [calm.created() for _ in range(10)]
    theirs = [stormy.created() for _ in range(10)]
    assert [task.planned.duration_seconds for task in ours] == [
        task.planned.duration_seconds for task in theirs
    ]
    assert not {task.id for task in ours} & {task.id for task in theirs}


def test_ids_can_be_injected() -> None:
    numbers = count(1)
    kie = SimulatedProvider(SimulatorConfig(), new_task_id=lambda: f"{next(numbers):032x}")
    fake = FakeKie()
    fake.kie = kie
    assert fake.created().id == "0" * 31 + "1"


def test_a_reset_forgets_everything_and_restores_the_faults() -> None:
    fake = FakeKie(SimulatorConfig(durations=TEN_SECONDS, seed=2))
    fake.kie.faults = FakeKie(poll_code=500).kie.faults
    task = fake.created()
    fake.kie.reset()
    fake.time.advance(20)
    fake.kie.finish_due_tasks()
    assert fake.kie.record.tasks == {}
    assert fake.kie.account.balance == 1_000_000
    assert fake.kie.faults.poll_code == 0
    assert read(fake.poll(task.id))["code"] == 422


def test_images_exist_only_once_the_task_has_succeeded() -> None:
    fake = FakeKie()
    task = fake.created(nVariants=2)
    assert answer_image(fake.kie, image_path(task.id, 1)).http_status == 404
    fake.time.advance(10)
    statuses = [
        answer_image(fake.kie, image_path(task.id, number)).http_status for number in (0, 1, 2, 3)
    ]
    assert statuses == [404, 200, 200, 404]
    assert answer_image(fake.kie, f"/images/{task.id}_1.png").http_status == 404
    assert answer_image(fake.kie, "/images/../secret").http_status == 404


def test_a_row_of_the_record_has_every_fact_about_a_task() -> None:
    fake = FakeKie(outcome="content_policy")
    task = fake.created("a wolf", callBackUrl="http://worker/callbacks/kie/tok3n?job=9")
    fake.time.advance(12)
    fake.poll(task.id)
    assert task.describe(fake.kie.clocks.monotonic()) == {
        "task_id": task.id,
        "account": 1,
        "endpoint": "dedicated",
        "model": "gpt-4o-image",
        "prompt": "a wolf",
        "size": "1:1",
        "n_variants": 1,
        "call_back_url": "http://worker/callbacks/kie/tok3n?job=9",
        "token": "tok3n",
        "created_at": START_EPOCH,
        "finished_at": START_EPOCH + 10,
        "told_at": START_EPOCH + 12,
        "outcome": "content_policy",
        "image_paths": [],
        "arrivals": 1,
        "worst_window": 1,
        "credits": 0.0,
        "credits_charged": 6.0,
        "refunded": True,
        "reply_lost": False,
    }
