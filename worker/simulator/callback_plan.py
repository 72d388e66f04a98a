"""The callbacks of a task, true and forged, and the request of each."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import orjson

from .fault_switches import FaultSwitches
from .market_record import write_market_callback
from .market_request import MARKET
from .simulated_task import SimulatedTask

FORGED_KINDS = ("body", "failure", "task", "token", "signature", "unsigned", "garbage")

_FORGED_URL = "https://forged.invalid/picture.png"
_FORGED_AFTER_AT_MOST_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PlannedCallback:
    """One callback to send, counted in seconds from the task's creation.

    ``kind`` is real, duplicate, early, or forged_ with the kind of forgery.
    """

    kind: str
    after_seconds: float

    @property
    def is_retried(self) -> bool:
        """Whether the callback is repeated as Kie does. A forged one is sent once."""
        return self.kind in ("real", "duplicate")


@dataclass(frozen=True, slots=True)
class CallbackPost:
    """The HTTP request of one delivery."""

    url: str
    body: bytes
    headers: Mapping[str, str]


def plan_callbacks(
    task: SimulatedTask, faults: FaultSwitches, draw: Callable[[float], bool]
) -> tuple[PlannedCallback, ...]:
    """Return the callbacks of a task, in no order; none where it has no callback URL."""
    if not task.request.call_back_url:
        return ()
    planned = []
    duration = task.planned.duration_seconds
    if draw(faults.callback_early):
        planned.append(PlannedCallback("early", 0.0))
    if draw(faults.callback_forged):
        wanted = faults.callback_forged_kind
        after = min(duration / 2.0, _FORGED_AFTER_AT_MOST_SECONDS)
        kinds = FORGED_KINDS if wanted == "all" else (wanted,)
        planned += [PlannedCallback(f"forged_{kind}", after) for kind in kinds]
    if math.isfinite(duration) and not draw(faults.callback_lost):
        after = duration + faults.callback_late_seconds
        planned.append(PlannedCallback("real", after))
        planned += [PlannedCallback("duplicate", after)] * faults.callback_duplicates
    return tuple(planned)


def sign(key: str, task_id: str, timestamp: int) -> str:
    """Return Kie's signature: Base64 of HMAC-SHA256 over the task id, a dot and the Unix
    seconds.
    """
    signed = hmac.new(key.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256)
    return base64.b64encode(signed.digest()).decode()


def write_callback(
    task: SimulatedTask, kind: str, *, base_url: str, hmac_key: str, timestamp: int
) -> CallbackPost:
    """Return the request of one callback. It is signed where there is a key, unless the forgery is
    a missing signature.
    """
    task_id = task.id
    url = task.request.call_back_url
    if kind == "forged_task":
        task_id = _scramble(task.id)
    if kind == "forged_token":
        url = _with_other_token(url)
    headers = {"Content-Type": "application/json"}
    if hmac_key and kind != "forged_unsigned":
        key = _scramble(hmac_key) if kind == "forged_signature" else hmac_key
        headers["X-Webhook-Timestamp"] = str(timestamp)
        headers["X-Webhook-Signature"] = sign(key, task_id, timestamp)
    return CallbackPost(url, _write_body(task, task_id, kind, base_url), headers)


def _write_body(task: SimulatedTask, task_id: str, kind: str, base_url: str) -> bytes:
    if kind == "forged_garbage":
        return b'{"code":200,"data":{"taskId":'
    urls = _choose_urls(task, kind, base_url)
    if task.request.endpoint == MARKET:
        return orjson.dumps(write_market_callback(task, task_id, urls=urls))
    if urls is not None:
        return _envelope(200, "success", task_id, {"result_urls": urls})
    if kind == "forged_failure":
        return _envelope(400, "Generation failed", task_id, None)
    outcome = task.planned.outcome
    message = outcome.error_message or "Generation failed"
    return _envelope(outcome.callback_code, message, task_id, None)


def _choose_urls(task: SimulatedTask, kind: str, base_url: str) -> list[str] | None:
    """Return the images that the callback reports, or None where it reports a failure."""
    if kind == "forged_failure":
        return None
    if kind.startswith("forged_"):
        return [_FORGED_URL] * task.request.n_variants
    if kind == "early":
        return task.image_urls(base_url, task.request.n_variants)
    return task.result_urls(base_url) if task.planned.outcome.success else None


def _envelope(code: int, message: str, task_id: str, info: object) -> bytes:
    data = {"taskId": task_id, "info": info}
    return orjson.dumps({"code": code, "msg": message, "data": data})


def _scramble(text: str) -> str:
    """Return another text of the same form: 32 hex digits that no task has."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _with_other_token(url: str) -> str:
    parts = urlsplit(url)
    head, _, token = parts.path.rpartition("/")
    other = _scramble(token)[: len(token)] if token else _scramble(url)
    return urlunsplit(parts._replace(path=f"{head}/{other}"))
