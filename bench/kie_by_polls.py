"""The simulated Kie with tasks that are done at their fourth poll, whenever that comes.

With tasks that end by the clock a worker that cannot keep up polls late, and so less often: the
slower it is, the less it has to do. Here everybody makes the same requests. Run as
`python -m bench.kie_by_polls`, with the command line of `worker.simulator`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import fields

import orjson

from worker.simulator.command_line import read_command_line
from worker.simulator.config import SimulatorConfig
from worker.simulator.create_request import CreateRequest
from worker.simulator.fault_table import Overrides
from worker.simulator.faults import FaultSwitches
from worker.simulator.kie import Kie
from worker.simulator.ready_file import write_ready_file
from worker.simulator.server import Simulator
from worker.simulator.task import Task

POLLS = 4


class PolledTask(Task):
    """A task that is done once it has been polled often enough."""

    __slots__ = ()

    def is_finished(self, now: float) -> bool:
        """Whether the poll that has just arrived is the last one; the time does not matter."""
        return self.arrivals.total >= POLLS


class KieByPolls(Kie):
    """A Kie that makes such tasks."""

    def open_task(
        self, request: CreateRequest, faults: FaultSwitches, overrides: Overrides
    ) -> Task | None:
        """Charge for a new task and create it; None when the credits are short."""
        task = super().open_task(request, faults, overrides)
        if task is None:
            return None
        polled = PolledTask(**{field.name: getattr(task, field.name) for field in fields(task)})
        self.record.tasks[task.id] = polled
        return polled


async def serve(config: SimulatorConfig, ready_file: str) -> None:
    """Run until SIGTERM, having told where once it listens."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    simulator = Simulator(KieByPolls(config))
    await simulator.start()
    try:
        facts = {
            "base_url": simulator.base_url,
            "api_key": simulator.api_key,
            "pid": str(os.getpid()),
        }
        write_ready_file(ready_file, orjson.dumps(facts))
        await stopped.wait()
    finally:
        await simulator.stop()


if __name__ == "__main__":
    asyncio.run(serve(read_command_line(sys.argv[1:]), os.environ["DARKROOM_READY_FILE"]))
