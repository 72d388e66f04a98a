"""The images of tasks, and the two routes that give a fresh link to one."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from .create_request import NotJsonError, read_object
from .image_links import FRESH_IMAGES, IMAGES, image_path, is_signed, presign, read_image_path
from .png_images import draw_picture
from .provider_state import Caller, SimulatedProvider
from .responses import NO_FILE, RefusedError, SimulatedResponse, error, no_file, success
from .simulated_task import SimulatedTask
from .uploaded_files import FILE_HOST, FILES


def answer_image(
    kie: SimulatedProvider, path: str, query: Mapping[str, str] | None = None
) -> SimulatedResponse:
    """GET of a plain or a fresh link: the picture of a successful task, drawn on demand."""
    found = _find_image(kie, path)
    if found is None:
        return NO_FILE
    task, number = found
    faults = kie.faults_for(task)
    if not _is_served(kie, task, path, query or {}):
        return no_file(int(faults.dead_image_status))
    if kie.draw(faults.image_error_rate):
        return error(503, "Service Unavailable", "status")
    seed_text = f"{task.id} {number} {task.request.prompt}"
    picture = draw_picture(
        seed_text, task.request.size, shorter_side=faults.image_pixels, kib=faults.image_kib
    )
    return SimulatedResponse("200", picture, 200, "image/png")


def is_fetchable(kie: SimulatedProvider, url: str) -> bool:
    """Whether Kie can fetch an input image. One of another host always can be: it is not tried."""
    if not url.startswith((f"{kie.base_url}/", f"{FILE_HOST}/")):
        return True
    path = urlsplit(url).path
    if path.startswith(FILES):
        return kie.files.find(path) is not None
    if path.startswith((IMAGES, FRESH_IMAGES)):
        query = dict(parse_qsl(urlsplit(url).query))
        found = _find_image(kie, path)
        return found is not None and _is_served(kie, found[0], path, query)
    return False


def answer_download_url(kie: SimulatedProvider, caller: Caller, raw: bytes) -> SimulatedResponse:
    """POST /api/v1/gpt4o-image/download-url: a fresh link to an image of a task."""
    try:
        account = kie.check_caller(caller, "other")
        given = read_object(raw)
    except RefusedError as refused:
        return refused.reply
    except NotJsonError:
        return kie.error(400)
    task_id, url = given.get("taskId"), given.get("url")
    if not isinstance(task_id, str) or not isinstance(url, str) or not task_id or not url:
        return kie.error(422, "taskId and url are required")
    task = kie.find_task(account, task_id)
    if task is None:
        return kie.error(422, "record is null")
    if not task.is_finished(kie.clocks.monotonic()) or not task.planned.outcome.success:
        return kie.error(422, "record status is not success")
    if url not in task.result_urls(kie.base_url):
        return kie.error(422, "url is wrong")
    return _give_fresh_link(kie, url)


def answer_common_download_url(
    kie: SimulatedProvider, caller: Caller, raw: bytes
) -> SimulatedResponse:
    """POST /api/v1/common/download-url: a fresh link to an image, of whatever model it is."""
    try:
        kie.check_caller(caller, "other")
        url = read_object(raw).get("url")
    except RefusedError as refused:
        return refused.reply
    except NotJsonError:
        return kie.error(400)
    if not isinstance(url, str) or not url.startswith(kie.base_url + IMAGES):
        return kie.error(422, "url is wrong")
    return _give_fresh_link(kie, url)


def _give_fresh_link(kie: SimulatedProvider, url: str) -> SimulatedResponse:
    found = _find_image(kie, urlsplit(url).path)
    if found is None:
        return kie.error(422, "url is wrong")
    task, number = found
    faults = kie.faults_for(task)
    if faults.download_url_code:
        return kie.error(faults.download_url_code, faults=faults)
    if not _is_younger(kie, task, faults.image_retention_seconds):
        return kie.error(422, "record is older than 14 days")
    path = image_path(task.id, number).replace(IMAGES, FRESH_IMAGES, 1)
    link = presign(
        path, now_epoch=kie.clocks.epoch(), valid_seconds=faults.fresh_link_lifetime_seconds
    )
    return success(kie.base_url + link)


def _find_image(kie: SimulatedProvider, path: str) -> tuple[SimulatedTask, int] | None:
    """Return the task and the number of an image that exists, however old it is."""
    found = read_image_path(path)
    task = kie.record.tasks.get(found[0]) if found else None
    if found is None or task is None or not 1 <= found[1] <= task.planned.url_count:
        return None
    if not task.is_finished(kie.clocks.monotonic()):
        return None
    return task, found[1]


def _is_served(
    kie: SimulatedProvider, task: SimulatedTask, path: str, query: Mapping[str, str]
) -> bool:
    """Whether this link to an image of the task still works."""
    faults = kie.faults_for(task)
    lifetime = faults.image_retention_seconds
    if path.startswith(FRESH_IMAGES):
        if not is_signed(path, query, now_epoch=kie.clocks.epoch()):
            return False
    else:
        lifetime = min(faults.image_lifetime_seconds, lifetime)
    return _is_younger(kie, task, lifetime)


def _is_younger(kie: SimulatedProvider, task: SimulatedTask, seconds: float) -> bool:
    return kie.clocks.monotonic() - task.finish_at < seconds
