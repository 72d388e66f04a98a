"""A simulated Kie on a clock that only tests move, and the calls that the unit tests make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from worker.simulator.durations import Durations
from worker.simulator.endpoints import DEDICATED_ENDPOINT, MARKET_ENDPOINT, Endpoint
from worker.simulator.fault_switch_parser import read_switches, with_switches
from worker.simulator.generate_route import CreateResult, answer_create
from worker.simulator.provider_state import Caller, SimulatedProvider
from worker.simulator.record_info_route import answer_record_info
from worker.simulator.responses import SimulatedResponse
from worker.simulator.simulated_task import SimulatedTask
from worker.simulator.simulator_config import SimulatorClocks, SimulatorConfig

START_EPOCH = 1_800_000_000.0
CALLER = Caller("Bearer sim-key", "tests/1")
TEN_SECONDS = Durations(median_seconds=10.0, sigma=0.0)


@dataclass(slots=True)
class FakeTime:
    """Both clocks of the simulator; seconds since the start of the test."""

    seconds: float = 0.0

    def clocks(self) -> SimulatorClocks:
        return SimulatorClocks(lambda: 1000.0 + self.seconds, lambda: START_EPOCH + self.seconds)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class FakeKie:
    """The provider without a server: bodies in, replies out."""

    def __init__(self, config: SimulatorConfig | None = None, /, **switches: object) -> None:
        self.time = FakeTime()
        self.kie = SimulatedProvider(
            config or SimulatorConfig(durations=TEN_SECONDS, seed=1), clocks=self.time.clocks()
        )
        self.kie.base_url = "http://sim"
        self.kie.faults = with_switches(self.kie.faults, read_switches(switches))

    def create(self, prompt: str = "a lighthouse", /, **fields: object) -> CreateResult:
        body = {"prompt": prompt, "size": "1:1", **fields}
        return answer_create(self.kie, CALLER, orjson.dumps(body))

    def created(self, prompt: str = "a lighthouse", /, **fields: object) -> SimulatedTask:
        task = self.create(prompt, **fields).task
        assert task is not None
        return task

    def create_by_market(
        self, model: str = "4o-image-api", /, **task_input: object
    ) -> CreateResult:
        body = {"model": model, "input": task_input, "callBackUrl": "http://here/callbacks/kie/t"}
        return answer_create(self.kie, CALLER, orjson.dumps(body), MARKET_ENDPOINT)

    def created_by_market(self, prompt: str = "x", /, **task_input: object) -> SimulatedTask:
        task = self.create_by_market(prompt=prompt, **{"size": "1:1", **task_input}).task
        assert task is not None
        return task

    def poll(
        self, task_id: str, caller: Caller = CALLER, endpoint: Endpoint = DEDICATED_ENDPOINT
    ) -> SimulatedResponse:
        return answer_record_info(self.kie, caller, task_id, endpoint)

    def shown(self, task: SimulatedTask) -> dict[str, Any]:
        endpoint = (
            MARKET_ENDPOINT if task.request.endpoint == MARKET_ENDPOINT.name else DEDICATED_ENDPOINT
        )
        data: dict[str, Any] = read(self.poll(task.id, endpoint=endpoint))["data"]
        return data


def read(reply: SimulatedResponse) -> dict[str, Any]:
    envelope: dict[str, Any] = orjson.loads(reply.body)
    return envelope
