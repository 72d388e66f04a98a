"""The JSON of record-info, in every form that Kie has been observed to use."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from .fault_switches import FaultSwitches
from .simulated_task import SimulatedTask


def describe_task(
    task: SimulatedTask, faults: FaultSwitches, *, now: float, base_url: str
) -> dict[str, object]:
    """The ``data`` of a record-info answer at this monotonic time."""
    finished = task.is_finished(now)
    outcome = task.planned.outcome
    data: dict[str, object] = {
        "taskId": task.id,
        "paramJson": task.request.param_json,
        "completeTime": show_time(task.finish_epoch, faults.time_form) if finished else None,
        "response": _show_response(task, faults, base_url) if finished else None,
        "successFlag": 0,
        "errorCode": None,
        "errorMessage": None,
        "createTime": show_time(task.created_epoch, faults.time_form),
        "progress": _show_progress(task, faults, now),
    }
    if not faults.omit_status:
        data["status"] = outcome.status if finished else faults.generating_status
    if finished:
        data["successFlag"] = 1 if outcome.success else task.planned.failure_flag
        data["errorCode"] = outcome.error_code
        data["errorMessage"] = outcome.error_message
        if outcome.success and faults.success_error_code:
            data["errorCode"] = faults.success_error_code
        if outcome.success:
            data |= _show_elsewhere(task, faults, base_url)
    if faults.market_state:
        del data["successFlag"]
        data.pop("status", None)
        ended = "success" if outcome.success else "fail"
        data["state"] = ended if finished else "generating"
    return data


def _show_elsewhere(task: SimulatedTask, faults: FaultSwitches, base_url: str) -> dict[str, object]:
    """The URLs of a success in another place than the 4o page has them."""
    urls = task.result_urls(base_url)
    match faults.response_form:
        case "comma":
            return {"response": {"resultUrls": ",".join(urls)}}
        case "top":
            return {"response": None, "resultUrls": urls}
        case "result_json":
            return {"response": None, "resultJson": orjson.dumps({"resultUrls": urls}).decode()}
        case "objects":
            return {"response": {"resultUrls": [{"resultUrl": url} for url in urls]}}
        case "broken":
            return {"response": {"resultUrls": [*urls, ""]}}
    return {}


def _show_progress(task: SimulatedTask, faults: FaultSwitches, now: float) -> str:
    if task.is_finished(now):
        return "1.00" if task.planned.outcome.success else "0.00"
    if faults.progress_form == "by_clock":
        share = task.progress_by_clock(now)
    elif faults.progress_form == "by_duration":
        share = task.progress_by_duration(now)
    else:
        share = 0.0
    return f"{min(0.99, share):.2f}"


def show_time(epoch: float, form: str) -> object:
    """The time in one of the forms of the switch `time_form`."""
    # Kie shows whole seconds even where the unit is milliseconds.
    seconds = int(epoch)
    if form == "ms":
        return seconds * 1000
    time_in_utc = datetime.fromtimestamp(seconds, UTC)
    if form == "text":
        return time_in_utc.strftime("%Y-%m-%d %H:%M:%S")
    return time_in_utc.strftime("%Y-%m-%dT%H:%M:%SZ")


def _show_response(task: SimulatedTask, faults: FaultSwitches, base_url: str) -> object:
    if task.planned.outcome.success:
        if faults.response_form == "null":
            return None
        urls = task.result_urls(base_url)
    elif faults.failed_response == "null":
        return None
    else:
        urls = []
    response: dict[str, object] = {}
    if faults.url_spelling in ("camel", "both"):
        response["resultUrls"] = urls
    if faults.url_spelling in ("snake", "both"):
        response["result_urls"] = urls
    if faults.response_form == "string":
        return orjson.dumps(response).decode()
    return response
