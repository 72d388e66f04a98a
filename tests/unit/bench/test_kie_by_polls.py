"""The simulated Kie whose tasks are done at their fourth poll."""

from __future__ import annotations

from decimal import Decimal

import orjson

from bench.kie_by_polls import POLLS, KieByPolls
from worker.simulator.config import SimulatorConfig
from worker.simulator.creation import answer_create
from worker.simulator.durations import Durations
from worker.simulator.kie import Caller
from worker.simulator.polling import answer_record_info

CALLER = Caller("Bearer sim-key", "a test")


def test_a_task_is_done_at_its_fourth_poll_whatever_time_has_passed() -> None:
    config = SimulatorConfig(
        polls_per_second_per_task=0, durations=Durations(median_seconds=0.0, sigma=0.0)
    )
    kie = KieByPolls(config)
    body = orjson.dumps({"prompt": "a pier", "size": "1:1", "nVariants": 2})
    task = answer_create(kie, CALLER, body).task
    assert task is not None
    answers = [
        orjson.loads(answer_record_info(kie, CALLER, task.id).body)["data"]
        for _ in range(POLLS + 1)
    ]
    assert [answer["status"] for answer in answers] == ["GENERATING"] * 3 + ["SUCCESS"] * 2
    assert len(answers[-1]["response"]["resultUrls"]) == 2


def test_a_task_that_cannot_be_paid_is_not_made() -> None:
    kie = KieByPolls(SimulatorConfig(starting_credits=Decimal(0)))
    body = orjson.dumps({"prompt": "a pier", "size": "1:1", "nVariants": 2})
    assert answer_create(kie, CALLER, body).task is None
    assert not kie.record.tasks
