"""A simulator of the Kie API, with a record of every request."""

from __future__ import annotations

from .durations import Durations
from .fault_switches import FaultSwitches
from .fault_values import FaultError
from .http_routes import Simulator, running_simulator
from .request_record import RequestRecord
from .simulator_config import SimulatorClocks, SimulatorConfig

__all__ = [
    "Durations",
    "FaultError",
    "FaultSwitches",
    "RequestRecord",
    "Simulator",
    "SimulatorClocks",
    "SimulatorConfig",
    "running_simulator",
]
