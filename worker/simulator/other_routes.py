"""The other routes of the API: download addresses, the images themselves, and the credit."""

from __future__ import annotations

import re

import orjson

from .png_images import draw_picture
from .provider_state import Caller, SimulatedProvider
from .responses import NOT_FOUND, RefusedError, SimulatedResponse, error, success
from .simulated_task import SimulatedTask

DOWNLOAD_SECONDS = 1200

_IMAGE_PATH = re.compile(r"^/images/([^/]+)_([0-9]{1,2})\.png$")
_EXPIRED = SimulatedResponse("403", b"Request has expired", 403, "text/plain")


def answer_credit(kie: SimulatedProvider, caller: Caller) -> SimulatedResponse:
    """GET /api/v1/chat/credit: the balance as a float, failed tasks already refunded."""
    kie.finish_due_tasks()
    try:
        account = kie.check_caller(caller, "other")
    except RefusedError as refused:
        return refused.reply
    return success(float(account.balance))


def answer_download_url(kie: SimulatedProvider, caller: Caller, raw: bytes) -> SimulatedResponse:
    """POST /api/v1/gpt4o-image/download-url: an address of one image, good for 20 minutes."""
    try:
        account = kie.check_caller(caller, "other")
    except RefusedError as refused:
        return refused.reply
    try:
        given = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return kie.error(400)
    if not isinstance(given, dict):
        return kie.error(400)
    task_id, url = given.get("taskId"), given.get("url")
    if not isinstance(task_id, str) or not isinstance(url, str) or not task_id or not url:
        return kie.error(422, "taskId and url are required")
    task = kie.find_task(account, task_id)
    if task is None:
        return kie.error(422, "record is null")
    return _address(kie, task, url)


def _address(kie: SimulatedProvider, task: SimulatedTask, url: str) -> SimulatedResponse:
    now = kie.clocks.monotonic()
    if not task.is_finished(now) or not task.planned.outcome.success:
        return kie.error(422, "record status is not success")
    urls = task.result_urls(kie.base_url)
    if not urls:
        return kie.error(422, "result data is blank")
    if url not in urls:
        return kie.error(422, "url is wrong")
    until = int(kie.clocks.epoch()) + DOWNLOAD_SECONDS
    return success(f"{url}?X-Amz-Expires={DOWNLOAD_SECONDS}&until={until}")


def answer_image(kie: SimulatedProvider, path: str, until: str) -> SimulatedResponse:
    """GET /images/…: the picture of a successful task, drawn on demand.

    ``until`` is the end (seconds since 1970) of a download address, empty for a result URL.
    """
    match = _IMAGE_PATH.match(path)
    task = kie.record.tasks.get(match[1]) if match else None
    if match is None or task is None:
        return NOT_FOUND
    if until.isascii() and until.isdecimal() and kie.clocks.epoch() > int(until):
        return _EXPIRED
    if not 1 <= int(match[2]) <= task.planned.url_count or not _is_served(kie, task):
        return NOT_FOUND
    if kie.draw(kie.faults_for(task).image_error_rate):
        return error(503, "Service Unavailable", "status")
    seed_text = f"{task.id} {match[2]} {task.request.prompt}"
    picture = draw_picture(seed_text, task.request.size)
    return SimulatedResponse("200", picture, 200, "image/png")


def _is_served(kie: SimulatedProvider, task: SimulatedTask) -> bool:
    age = kie.clocks.monotonic() - task.finish_at
    expires = kie.faults_for(task).image_expires_seconds
    return age >= 0 and (expires == 0 or age < expires)
