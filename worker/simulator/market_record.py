"""The record of a Market task: the `data` of recordInfo, and the body of its callbacks."""

from __future__ import annotations

from typing import Any

import orjson

from .fault_switches import FaultSwitches
from .record_info_body import show_time
from .simulated_task import SimulatedTask

_WAITING_SHARE = 0.05
_QUEUING_SHARE = 0.1
_COMPLETED = "Playground task completed successfully."
_FAILED = "Playground task failed."


def describe_market_task(
    task: SimulatedTask, faults: FaultSwitches, *, now: float, base_url: str
) -> dict[str, object]:
    """The ``data`` of a recordInfo answer at this monotonic time."""
    finished = task.is_finished(now)
    state = _end_state(task) if finished else _running_state(task, faults, now)
    data = _begin(task, state, faults.time_form)
    data |= {"resultJson": "", "failCode": None, "failMsg": None}
    data |= {"costTime": None, "completeTime": None}
    if state == "generating":
        data["creditsConsumed"] = float(task.credits)
    if finished:
        data |= _show_end(task, faults, base_url)
    data |= {"successFlag": 0, "operationType": task.request.model}
    data["paramJson"] = task.request.param_json
    if finished:
        data["successFlag"] = 1 if task.planned.outcome.success else task.planned.failure_flag
    if faults.omit_status:
        del data["state"]
    return data


def write_market_callback(
    task: SimulatedTask, task_id: str, *, urls: list[str] | None
) -> dict[str, object]:
    """The body of a callback: the record itself, a success where there are URLs."""
    state = "fail" if urls is None else "success"
    ended = task.finish_epoch if task.has_end else task.created_epoch
    data = _begin(task, state, "ms")
    data |= {
        "taskId": task_id,
        "resultJson": "" if urls is None else _as_text(urls),
        "creditsConsumed": 0.0 if urls is None else float(task.credits),
        "costTime": int(ended - task.created_epoch),
        "completeTime": show_time(ended, "ms"),
        "updateTime": show_time(ended, "ms"),
    }
    if urls is not None:
        return {"code": 200, "msg": _COMPLETED, "data": data}
    outcome = task.planned.outcome
    data |= {"failCode": str(outcome.error_code or 500), "failMsg": outcome.error_message}
    code = 400 if outcome.error_code == 400 else 501
    return {"code": code, "msg": _FAILED, "data": data}


def _begin(task: SimulatedTask, state: str, time_form: str) -> dict[str, Any]:
    return {
        "taskId": task.id,
        "model": task.request.model,
        "state": state,
        "param": task.request.param_json,
        "createTime": show_time(task.created_epoch, time_form),
    }


def _running_state(task: SimulatedTask, faults: FaultSwitches, now: float) -> str:
    if faults.running_state != "by_time":
        return faults.running_state
    share = task.progress_by_clock(now)
    if share < _WAITING_SHARE:
        return "waiting"
    return "queuing" if share < _QUEUING_SHARE else "generating"


def _end_state(task: SimulatedTask) -> str:
    return "success" if task.planned.outcome.success else "fail"


def _show_end(task: SimulatedTask, faults: FaultSwitches, base_url: str) -> dict[str, object]:
    outcome = task.planned.outcome
    shown: dict[str, object] = {}
    if not outcome.at_once:
        shown["costTime"] = int(task.planned.duration_seconds) if outcome.success else None
        shown["completeTime"] = show_time(task.finish_epoch, faults.time_form)
    if not outcome.success:
        shown |= {
            "failCode": None if outcome.error_code is None else str(outcome.error_code),
            "failMsg": outcome.error_message,
            "creditsConsumed": 0.0,
        }
        if faults.failed_response == "empty":
            shown["response"] = {"resultUrls": []}
        return shown
    shown["creditsConsumed"] = float(task.credits)
    if faults.success_error_code:
        shown["failCode"] = str(faults.success_error_code)
    return shown | _show_urls(task.result_urls(base_url), faults)


def _show_urls(urls: list[str], faults: FaultSwitches) -> dict[str, object]:
    """The URLs of a success, where the switches put them; by default in two places, as recorded."""
    spelled = {
        "camel": ("resultUrls",),
        "snake": ("result_urls",),
        "both": ("resultUrls", "result_urls"),
    }[faults.url_spelling]
    response: dict[str, object] = dict.fromkeys(spelled, urls)
    match faults.response_form:
        case "string":
            return {"resultJson": "", "response": orjson.dumps(response).decode()}
        case "null":
            return {"resultJson": "", "response": None}
        case "comma":
            return {"resultJson": "", "response": {"resultUrls": ",".join(urls)}}
        case "top":
            return {"resultJson": "", "resultUrls": urls}
        case "result_json":
            return {"resultJson": orjson.dumps(response).decode()}
        case "objects":
            return {"resultJson": "", "response": {"resultUrls": [{"resultUrl": u} for u in urls]}}
        case "broken":
            return {"resultJson": "", "response": {"resultUrls": [*urls, ""]}}
    return {"resultJson": orjson.dumps(response).decode(), "response": response}


def _as_text(urls: list[str]) -> str:
    return orjson.dumps({"resultUrls": urls}).decode()
