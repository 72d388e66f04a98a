"""A simulator of the Kie API that keeps its own record of what it was asked."""

from __future__ import annotations

from .clocks import Clocks
from .config import SimulatorConfig
from .durations import Durations
from .fault_values import FaultError
from .faults import FaultSwitches
from .record import Record
from .server import Simulator, running_simulator

__all__ = [
    "Clocks",
    "Durations",
    "FaultError",
    "FaultSwitches",
    "Record",
    "Simulator",
    "SimulatorConfig",
    "running_simulator",
]
