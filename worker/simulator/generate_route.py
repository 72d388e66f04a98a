"""The paid POST of either endpoint: whether a task is created, and the response."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .create_request import CreateRequest
from .endpoints import DEDICATED_ENDPOINT, Endpoint
from .fault_switch_parser import Overrides, with_switches
from .fault_switches import FaultSwitches
from .fault_values import FaultError
from .image_routes import is_fetchable
from .prompt_directives import read_directives
from .provider_state import Caller, SimulatedProvider
from .responses import CLOSED, RESET, RefusedError, SimulatedResponse, malformed_reply
from .simulated_account import SimulatedAccount
from .simulated_task import SimulatedTask


@dataclass(frozen=True, slots=True)
class CreateResult:
    """The response to a create request, and the task that it created, if any.

    The task exists before its response is sent, as with the real service.
    """

    reply: SimulatedResponse
    task: SimulatedTask | None = None


def answer_create(
    kie: SimulatedProvider, caller: Caller, raw: bytes, endpoint: Endpoint = DEDICATED_ENDPOINT
) -> CreateResult:
    """Decide one create request. Every refusal is counted by its reason."""
    kie.finish_due_tasks()
    retired = endpoint.find_retirement(kie, endpoint.create_path)
    if retired is not None:
        kie.record.creates_refused["retired"] += 1
        return CreateResult(retired)
    kie.record.create_arrivals.arrive(kie.clocks.monotonic())
    try:
        account = kie.check_caller(caller, "create")
        faults = kie.faults_of(account)
        request = endpoint.read(kie, faults, raw)
        overrides = _directives(kie, request)
        if overrides:
            faults = with_switches(faults, overrides)
            request = endpoint.read(kie, faults, raw)
        wrong_reply = _refuse(kie, account, request, faults)
    except RefusedError as refused:
        kie.record.creates_refused[refused.reason] += 1
        return CreateResult(refused.reply)
    if not all(is_fetchable(kie, url) for url in request.input_urls):
        faults = replace(faults, outcome="image_fetch_failed")
    task = kie.open_task(account, request, faults, overrides)
    if task is None:
        kie.record.creates_refused["credits"] += 1
        return CreateResult(kie.error(402, faults=faults))
    return CreateResult(
        _build_reply(kie, task, faults, endpoint.accept(task), wrong_reply=wrong_reply), task
    )


def _directives(kie: SimulatedProvider, request: CreateRequest) -> Overrides:
    try:
        return read_directives(request.prompt)
    except FaultError as fault:
        message = f"simulator directive: {fault}"
        raise RefusedError("directive", kie.error(422, message)) from None


def _refuse(
    kie: SimulatedProvider, account: SimulatedAccount, request: CreateRequest, faults: FaultSwitches
) -> SimulatedResponse | None:
    """Raise `RefusedError` when no task is to be created.

    A returned response is sent although the task is created; None means the true response.
    """
    if kie.draw(faults.create_reset):
        raise RefusedError("reset", RESET)
    if not account.create_limit.admit(kie.clocks.monotonic()):
        raise RefusedError("rate_limit", kie.error(429, faults=faults))
    if faults.create_junk != "none" and kie.draw(faults.create_junk_rate):
        if faults.create_junk_creates:
            return malformed_reply(faults.create_junk)
        raise RefusedError(f"junk_{faults.create_junk}", malformed_reply(faults.create_junk))
    code = faults.submit_code
    if (
        code
        and kie.draw(faults.submit_code_rate)
        and kie.take_refusal(request.prompt, faults.submit_code_times)
    ):
        reply = kie.error(code, faults=faults)
        if faults.submit_code_creates:
            return reply
        raise RefusedError(f"fault_{code}", reply)
    return None


def _build_reply(
    kie: SimulatedProvider,
    task: SimulatedTask,
    faults: FaultSwitches,
    true_reply: SimulatedResponse,
    *,
    wrong_reply: SimulatedResponse | None,
) -> SimulatedResponse:
    if kie.draw(faults.lost_reply):
        task.reply_lost = True
        kie.record.replies_lost += 1
        return CLOSED
    reply = true_reply if wrong_reply is None else wrong_reply
    if wrong_reply is not None:
        task.reply_lost = True
        kie.record.replies_lost += 1
    if kie.draw(faults.create_hang):
        return replace(reply, extra_delay_seconds=faults.create_hang_seconds)
    return reply
