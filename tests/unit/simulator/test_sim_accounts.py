"""Several simulated accounts: each has its own credits, limit, faults and tasks."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from tests.unit.simulator.fake_kie import TEN_SECONDS, FakeKie, read
from worker.simulator.credit_route import answer_credit
from worker.simulator.fault_switch_parser import read_switches
from worker.simulator.generate_route import CreateResult, answer_create
from worker.simulator.provider_state import Caller
from worker.simulator.simulated_task import SimulatedTask
from worker.simulator.simulator_config import SimulatorConfig

FIRST, SECOND = (Caller(f"Bearer {key}", "tests/1") for key in ("one", "two"))
TWO = SimulatorConfig(
    durations=TEN_SECONDS,
    seed=1,
    api_key="one",
    further_api_keys=("two",),
    creates_per_10_seconds=3,
)


@pytest.fixture
def fake() -> FakeKie:
    """A Kie with two accounts, each of 3 creates per 10 s."""
    return FakeKie(TWO)


def create(fake: FakeKie, caller: Caller) -> CreateResult:
    return answer_create(fake.kie, caller, orjson.dumps({"prompt": "a lighthouse", "size": "1:1"}))


def created(fake: FakeKie, caller: Caller) -> SimulatedTask:
    task = create(fake, caller).task
    assert task is not None
    return task


def test_each_account_pays_for_its_own_tasks_and_says_its_own_credit(fake: FakeKie) -> None:
    created(fake, SECOND)
    assert read(answer_credit(fake.kie, FIRST))["data"] == 1_000_000
    assert read(answer_credit(fake.kie, SECOND))["data"] == 999_994
    summary: Any = fake.kie.record.summary()
    assert summary["credits"] == {
        "starting": 2_000_000.0,
        "balance": 1_999_994.0,
        "spent": 6.0,
        "refunded": 0.0,
        "net": 6.0,
    }
    assert [row["credits"]["net"] for row in summary["accounts"]] == [0.0, 6.0]


def test_a_failed_task_is_refunded_to_the_account_that_paid() -> None:
    fake = FakeKie(TWO, outcome="generate_failed")
    created(fake, SECOND)
    fake.time.advance(10)
    fake.kie.finish_due_tasks()
    assert [account.refunded for account in fake.kie.accounts] == [0, 6]


def test_each_account_has_a_limit_of_its_own(fake: FakeKie) -> None:
    for _ in range(5):
        create(fake, FIRST)
    for _ in range(2):
        create(fake, SECOND)
    summary: Any = fake.kie.record.summary()
    assert summary["creates"]["refused"] == {"rate_limit": 2}
    assert summary["creates"]["worst_window_10_seconds"] == 5
    assert [
        (row["account"], row["created"], row["worst_window_10_seconds"])
        for row in summary["accounts"]
    ] == [(1, 3, 3), (2, 2, 2)]


def test_another_accounts_task_is_as_unknown_as_none_at_all_and_that_is_counted(
    fake: FakeKie,
) -> None:
    task = created(fake, FIRST)
    assert read(fake.poll(task.id, FIRST))["data"]["taskId"] == task.id
    assert read(fake.poll(task.id, SECOND)) == read(fake.poll("nobody", SECOND))
    summary: Any = fake.kie.record.summary()
    assert summary["polls"]["of_other_accounts"] == 1
    assert summary["polls"]["arrived"] == 3


def test_a_key_of_nobody_is_refused(fake: FakeKie) -> None:
    assert read(create(fake, Caller("Bearer three", "tests/1")).reply)["code"] == 401


def test_switches_of_one_account_leave_the_others_alone(fake: FakeKie) -> None:
    fake.kie.accounts[0].overrides = read_switches({"account_code": 402})
    assert read(create(fake, FIRST).reply)["code"] == 402
    assert read(create(fake, SECOND).reply)["code"] == 200
    fake.kie.reset()
    assert read(create(fake, FIRST).reply)["code"] == 200


def test_one_account_may_run_out_of_credits_alone(fake: FakeKie) -> None:
    fake.kie.accounts[0].balance = Decimal(5)
    assert read(create(fake, FIRST).reply)["code"] == 402
    assert read(create(fake, SECOND).reply)["code"] == 200


def test_a_task_says_whose_it_is(fake: FakeKie) -> None:
    rows = [created(fake, caller).describe(0.0)["account"] for caller in (FIRST, SECOND)]
    assert rows == [1, 2]


@pytest.mark.parametrize("keys", [("one", ""), ("one",), ("two", "two")])
def test_keys_are_neither_empty_nor_repeated(keys: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="api_key is"):
        replace(TWO, further_api_keys=keys)
