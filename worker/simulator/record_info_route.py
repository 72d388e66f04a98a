"""The poll of either endpoint, throttled per task on arrival."""

from __future__ import annotations

from dataclasses import replace

from .endpoints import DEDICATED_ENDPOINT, Endpoint
from .fault_switches import FaultSwitches
from .provider_state import Caller, SimulatedProvider
from .responses import CLOSED, RESET, RefusedError, SimulatedResponse, malformed_reply, success
from .simulated_task import SimulatedTask


def answer_record_info(
    kie: SimulatedProvider, caller: Caller, task_id: str, endpoint: Endpoint = DEDICATED_ENDPOINT
) -> SimulatedResponse:
    """Decide one poll. It counts as an arrival of its task whatever the response is.

    The response shows the task at the time when the poll arrived.
    """
    kie.finish_due_tasks()
    retired = endpoint.find_retirement(kie, endpoint.poll_path)
    if retired is not None:
        return retired
    now = kie.clocks.monotonic()
    in_last_second = kie.record.note_poll(task_id, now)
    try:
        account = kie.check_caller(caller, "poll")
    except RefusedError as refused:
        return refused.reply
    if not task_id:
        return kie.error(422, "taskId is required")
    task = kie.find_task(account, task_id)
    limit = endpoint.poll_limit(kie)
    if limit and in_last_second > limit:
        kie.record.polls_over_limit += 1
        return kie.error(429)
    # The id of a task of the other endpoint is as unknown as any.
    if task is None or task.request.endpoint != endpoint.name:
        return _missing(kie, endpoint, kie.faults_of(account))
    return _answer_about(kie, endpoint, task, now)


def _answer_about(
    kie: SimulatedProvider, endpoint: Endpoint, task: SimulatedTask, now: float
) -> SimulatedResponse:
    faults = kie.faults_for(task)
    reply = _fault_reply(kie, task, faults)
    if reply is None and now - task.created_at < faults.visible_after_seconds:
        reply = _missing(kie, endpoint, faults)
    if reply is None:
        if task.first_reported_epoch is None and task.is_finished(now):
            task.first_reported_epoch = kie.clocks.epoch()
        reply = success(endpoint.describe(task, faults, now=now, base_url=kie.base_url))
    if kie.draw(faults.poll_hang):
        return replace(reply, extra_delay_seconds=faults.poll_hang_seconds)
    return reply


def _fault_reply(
    kie: SimulatedProvider, task: SimulatedTask, faults: FaultSwitches
) -> SimulatedResponse | None:
    if kie.draw(faults.poll_reset):
        return RESET
    if kie.draw(faults.poll_drop):
        return CLOSED
    if faults.poll_junk != "none" and kie.draw(faults.poll_junk_rate):
        return malformed_reply(faults.poll_junk)
    times = faults.poll_code_times
    if (
        faults.poll_code
        and (times == 0 or task.arrivals.total <= times)
        and kie.draw(faults.poll_code_rate)
    ):
        return kie.error(faults.poll_code, faults=faults)
    return None


def _missing(
    kie: SimulatedProvider, endpoint: Endpoint, faults: FaultSwitches
) -> SimulatedResponse:
    if faults.missing_form == "null":
        return success(None)
    return kie.error(int(faults.missing_form), endpoint.missing_message, faults=faults)
