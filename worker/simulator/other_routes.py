"""The other routes of the simulator: the images, and the credit."""

from __future__ import annotations

from .image_links import read_image_path
from .png_images import draw_picture
from .provider_state import Caller, SimulatedProvider
from .responses import NO_FILE, RefusedError, SimulatedResponse, error, success
from .simulated_task import SimulatedTask


def answer_credit(kie: SimulatedProvider, caller: Caller) -> SimulatedResponse:
    """GET /api/v1/chat/credit: the balance as a float, failed tasks already refunded."""
    kie.finish_due_tasks()
    try:
        account = kie.check_caller(caller, "other")
    except RefusedError as refused:
        return refused.reply
    return success(float(account.balance))


def answer_image(kie: SimulatedProvider, path: str) -> SimulatedResponse:
    """GET /images/…: the picture of a successful task, drawn on demand."""
    found = read_image_path(path)
    task = kie.record.tasks.get(found[0]) if found else None
    if found is None or task is None:
        return NO_FILE
    if not 1 <= found[1] <= task.planned.url_count or not _is_served(kie, task):
        return NO_FILE
    if kie.draw(kie.faults_for(task).image_error_rate):
        return error(503, "Service Unavailable", "status")
    seed_text = f"{task.id} {found[1]} {task.request.prompt}"
    picture = draw_picture(seed_text, task.request.size)
    return SimulatedResponse("200", picture, 200, "image/png")


def _is_served(kie: SimulatedProvider, task: SimulatedTask) -> bool:
    age = kie.clocks.monotonic() - task.finish_at
    expires = kie.faults_for(task).image_expires_seconds
    return age >= 0 and (expires == 0 or age < expires)
