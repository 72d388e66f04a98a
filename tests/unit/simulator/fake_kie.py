"""A simulated Kie on a clock that only tests move, and the calls that the unit tests make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from worker.simulator.clocks import Clocks
from worker.simulator.durations import Durations
from worker.simulator.fault_switch_parser import read_switches, with_switches
from worker.simulator.generate_route import Creation, answer_create
from worker.simulator.provider_state import Caller, Kie
from worker.simulator.record_info_route import answer_record_info
from worker.simulator.responses import Reply
from worker.simulator.simulated_task import Task
from worker.simulator.simulator_config import SimulatorConfig

START_EPOCH = 1_800_000_000.0
CALLER = Caller("Bearer sim-key", "tests/1")
TEN_SECONDS = Durations(median_seconds=10.0, sigma=0.0)


@dataclass(slots=True)
class FakeTime:
    """Both clocks of the simulator; seconds since the start of the test."""

    seconds: float = 0.0

    def clocks(self) -> Clocks:
        return Clocks(lambda: 1000.0 + self.seconds, lambda: START_EPOCH + self.seconds)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class FakeKie:
    """The provider without a server: bodies in, replies out."""

    def __init__(self, config: SimulatorConfig | None = None, /, **switches: object) -> None:
        self.time = FakeTime()
        self.kie = Kie(
            config or SimulatorConfig(durations=TEN_SECONDS, seed=1), clocks=self.time.clocks()
        )
        self.kie.base_url = "http://sim"
        self.kie.faults = with_switches(self.kie.faults, read_switches(switches))

    def create(self, prompt: str = "a lighthouse", /, **fields: object) -> Creation:
        body = {"prompt": prompt, "size": "1:1", **fields}
        return answer_create(self.kie, CALLER, orjson.dumps(body))

    def created(self, prompt: str = "a lighthouse", /, **fields: object) -> Task:
        task = self.create(prompt, **fields).task
        assert task is not None
        return task

    def poll(self, task_id: str, caller: Caller = CALLER) -> Reply:
        return answer_record_info(self.kie, caller, task_id)

    def shown(self, task: Task) -> dict[str, Any]:
        data: dict[str, Any] = read(self.poll(task.id))["data"]
        return data


def read(reply: Reply) -> dict[str, Any]:
    envelope: dict[str, Any] = orjson.loads(reply.body)
    return envelope
