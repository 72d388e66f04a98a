"""The two endpoints to Kie's models: the endpoint of the 4o image model, and the Market.

They have the same accounts, limits of creates, fault switches and record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .create_request import (
    DEDICATED,
    CreateRequest,
    InvalidRequestError,
    NotJsonError,
    parse_create_request,
)
from .fault_switches import FaultSwitches
from .market_models import list_models
from .market_record import describe_market_task
from .market_request import MARKET, NoSuchModelError, parse_market_request
from .provider_state import SimulatedProvider
from .record_info_body import describe_task
from .responses import RefusedError, SimulatedResponse, no_route, success
from .simulated_task import SimulatedTask


class DescribeTask(Protocol):
    """Returns the ``data`` of a poll's answer."""

    def __call__(
        self, task: SimulatedTask, faults: FaultSwitches, *, now: float, base_url: str
    ) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What differs between the endpoints: paths, requests, records and words."""

    name: str
    create_path: str
    poll_path: str
    parse: Callable[[bytes, FaultSwitches], CreateRequest]
    describe: DescribeTask
    missing_message: str
    default_validation_code: int
    """The code that Kie was seen to send for a fault of the request."""
    echoes_record_id: bool

    def accept(self, task: SimulatedTask) -> SimulatedResponse:
        """The response to a create."""
        ids = {"taskId": task.id}
        return success({**ids, "recordId": task.id} if self.echoes_record_id else ids)

    def poll_limit(self, kie: SimulatedProvider) -> int:
        """How many polls a second of one task are answered; 0 is no limit."""
        if self.name == MARKET:
            return kie.config.market_polls_per_second_per_task
        return kie.config.polls_per_second_per_task

    def read(self, kie: SimulatedProvider, faults: FaultSwitches, raw: bytes) -> CreateRequest:
        """Return the request of a body. Raises `RefusedError` with the reply otherwise."""
        try:
            return self.parse(raw, faults)
        except NotJsonError:
            raise RefusedError("not_json", kie.error(400)) from None
        except NoSuchModelError as fault:
            raise RefusedError("unknown_model", kie.error(fault.code, str(fault))) from None
        except InvalidRequestError as fault:
            code = faults.validation_code or self.default_validation_code
            message = fault.recorded if code == 500 else str(fault)
            raise RefusedError("validation", kie.error(code, message)) from None

    def find_retirement(self, kie: SimulatedProvider, path: str) -> SimulatedResponse | None:
        """Return the response of a route that Kie has taken away, or None where it is there."""
        if path in _RETIRED[kie.faults.retired_routes]:
            return no_route(path, kie.clocks.epoch())
        return None


DEDICATED_ENDPOINT = Endpoint(
    name=DEDICATED,
    create_path="/api/v1/gpt4o-image/generate",
    poll_path="/api/v1/gpt4o-image/record-info",
    parse=lambda raw, faults: parse_create_request(raw, one_image=faults.one_image),
    describe=describe_task,
    missing_message="The record does not exist",
    default_validation_code=422,
    echoes_record_id=False,
)
MARKET_ENDPOINT = Endpoint(
    name=MARKET,
    create_path="/api/v1/jobs/createTask",
    poll_path="/api/v1/jobs/recordInfo",
    parse=lambda raw, faults: parse_market_request(raw, list_models(faults), faults.paused_model),
    describe=describe_market_task,
    missing_message="recordInfo is null",
    default_validation_code=500,
    echoes_record_id=True,
)

_RETIRED = {
    "none": (),
    "generate": (DEDICATED_ENDPOINT.create_path,),
    "dedicated": (DEDICATED_ENDPOINT.create_path, DEDICATED_ENDPOINT.poll_path),
    "market": (MARKET_ENDPOINT.create_path, MARKET_ENDPOINT.poll_path),
}
