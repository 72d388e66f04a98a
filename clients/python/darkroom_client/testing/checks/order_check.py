"""Checks orders as the API does, with the same sentences, by the rules of `order_rules.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from darkroom_client.testing.checks.field_checks import CHECKS, Fault, shown
from darkroom_client.testing.checks.public_urls import WEBHOOK_HINT, find_url_fault
from darkroom_client.testing.problem import Refusal, invalid_request

DEFAULT_MODEL = "gpt-4o-image"
_ORDER_FIELDS = ("account_id", "metadata", "webhook_url", "priority", "run_at")
_PRIORITIES = ("high", "normal", "low")
_METADATA_BYTES = 16 * 1024
_RUN_AT_DAYS = 366
_BATCH_MAX = 1_000
_KEY_FIELD = re.compile(r"(x[-_])?(idempotency|idempotence|idempotent)[-_]?key")


@dataclass(frozen=True)
class MemoryOrder:
    """An order that breaks no rule."""

    account_id: str
    model: str
    task: str
    request: dict[str, Any]
    quantity: int
    variant: str
    metadata: dict[str, Any]
    webhook_url: str | None
    priority: str
    run_at: datetime | None


@cache
def order_rules() -> dict[str, Any]:
    """Return the rules of every model."""
    text = files(__package__).joinpath("order_rules.json").read_text("utf-8")
    rules: dict[str, Any] = json.loads(text)
    return rules


def check_order(body: Mapping[str, Any], account_id: str) -> MemoryOrder:
    """Return the order of a body for the account of the key. Raises a problem with every fault."""
    fields = dict(body)
    model, task = fields.pop("model", DEFAULT_MODEL), fields.pop("task", None)
    given = {name: fields.pop(name) for name in _ORDER_FIELDS if name in fields}
    order = {"account_id": account_id, **given}
    faults = [*_order_faults(order), *_pop_key_faults(fields)]
    rules = _rules_of(model, task, faults)
    if rules is not None:
        faults += _request_faults(rules, task, fields)
    if faults or rules is None:
        raise invalid_request(faults)
    request = {name: fields.get(name, one["default"]) for name, one in rules["fields"].items()}
    run_at = order.get("run_at")
    return MemoryOrder(
        account_id=order["account_id"],
        model=model,
        task=task,
        request=request,
        quantity=request.get("quantity") or 1,
        variant=request[rules["variant"]] if rules["variant"] else "",
        metadata=order.get("metadata", {}),
        webhook_url=order.get("webhook_url"),
        priority=order.get("priority", "normal"),
        run_at=read_time(run_at) if run_at is not None else None,
    )


def check_batch(body: Mapping[str, Any], account_id: str) -> list[MemoryOrder]:
    """Return the orders of a batch. The field of each fault begins with `jobs.` and its index."""
    jobs = body.get("jobs")
    others = {name: value for name, value in body.items() if name != "jobs"}
    faults = _pop_key_faults(others)
    faults += [Fault(name, "is not a field of a batch; allowed: jobs") for name in others]
    if not isinstance(jobs, list) or not 1 <= len(jobs) <= _BATCH_MAX:
        message = f"{shown(jobs)} must be a list of 1 to {_BATCH_MAX:,} jobs"
        raise invalid_request([*faults, Fault("jobs", message)])
    orders = []
    for index, one in enumerate(jobs):
        if not isinstance(one, Mapping):
            faults.append(Fault(f"jobs.{index}", f"must be an object, not {shown(one)}"))
            continue
        try:
            orders.append(check_order(one, account_id))
        except Refusal as refused:
            faults += [
                Fault(f"jobs.{index}.{told['field']}", told["message"])
                for told in refused.body["errors"]
            ]
    if faults:
        raise invalid_request(faults)
    return orders


def _pop_key_faults(fields: dict[str, Any]) -> list[Fault]:
    """Remove fields that are meant as the idempotency key, and return a fault for each."""
    names = [name for name in fields if _KEY_FIELD.fullmatch(name[:40].lower())]
    for name in names:
        del fields[name]
    return [
        Fault(name, "is no field of a body: send it in the header Idempotency-Key")
        for name in names
    ]


def time_of(text: str) -> datetime:
    """Return the time of a text that the API has written."""
    return datetime.fromisoformat(text)


def read_time(text: str) -> datetime | None:
    """Return a time with its timezone, in UTC, or None for other text."""
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    try:
        return time.astimezone(UTC) if time.tzinfo else None
    except OverflowError:  # in the first or the last year
        return time.replace(tzinfo=UTC)


def _has_utc_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        return False
    return True


def _order_faults(order: Mapping[str, Any]) -> list[Fault]:
    faults: list[Fault] = []
    account = order["account_id"]
    if not isinstance(account, str) or not account or len(account) > 200 or " " in account:
        faults.append(
            Fault(
                "account_id", f"{shown(account)} must be 1 to 200 printable characters, no spaces"
            )
        )
    metadata = order.get("metadata", {})
    if not isinstance(metadata, dict):
        faults.append(Fault("metadata", f"must be a JSON object, not {shown(metadata)}"))
    elif (length := len(json.dumps(metadata, separators=(",", ":")))) > _METADATA_BYTES:
        message = f"is {length} bytes of JSON; at most {_METADATA_BYTES} are allowed"
        faults.append(Fault("metadata", message))
    webhook = order.get("webhook_url")
    if webhook is not None and not _is_url(webhook):
        message = f"{shown(webhook)} must be an http:// or https:// URL of at most 8192 characters"
        faults.append(Fault("webhook_url", message))
    priority = order.get("priority", "normal")
    if priority not in _PRIORITIES:
        message = f"{shown(priority)} must be one of {', '.join(_PRIORITIES)}"
        faults.append(Fault("priority", message))
    faults += _run_at_faults(order.get("run_at"))
    if webhook is not None and _is_url(webhook):
        refused = find_url_fault(webhook, allow_loopback=True, hint=WEBHOOK_HINT)
        faults += [Fault("webhook_url", refused)] if refused else []
    return faults


def _run_at_faults(run_at: Any) -> list[Fault]:
    if run_at is None:
        return []
    time = read_time(run_at)
    if time is None:
        return [Fault("run_at", f"{shown(run_at)} must be a time with its timezone")]
    far = datetime.fromisoformat(run_at).isoformat()
    if not _has_utc_time(run_at):
        years = f"of the years 1 to 9999 in UTC, and at most {_RUN_AT_DAYS} days from now"
        return [Fault("run_at", f"{far!r} must be {years}")]
    if time > datetime.now(UTC) + timedelta(days=_RUN_AT_DAYS):
        return [Fault("run_at", f"{far!r} must be at most {_RUN_AT_DAYS} days from now")]
    return []


def _is_url(value: Any) -> bool:
    return (
        isinstance(value, str)
        and value.startswith(("http://", "https://"))
        and len(value) <= 8192
        and bool(value.partition("://")[2])
    )


def _rules_of(model: Any, task: Any, faults: list[Fault]) -> Mapping[str, Any] | None:
    """Return the rules of the model and task, or add the fault of those that do not exist."""
    if not isinstance(model, str):
        faults.append(Fault("model", f"{shown(model)} must be the name of a model"))
        return None
    tasks: Mapping[str, Any] = order_rules().get(model, {})
    if not tasks:
        known = ", ".join(map(repr, sorted(order_rules())))
        faults.append(Fault("model", f"{model!r} is not in the catalog; allowed: {known}"))
        return None
    known = ", ".join(map(repr, sorted(tasks)))
    if task is None:
        faults.append(Fault("task", f"is required: one of {known}"))
        return None
    if task not in tasks:
        faults.append(Fault("task", f"{shown(task)} is not a task; allowed: {known}"))
        return None
    rules: Mapping[str, Any] = tasks[task]
    return rules


def _request_faults(rules: Mapping[str, Any], task: str, fields: Mapping[str, Any]) -> list[Fault]:
    faults: list[Fault] = []
    for name, rule in rules["fields"].items():
        if name not in fields:
            if rule["required"]:
                faults.append(Fault(name, f"is required: {rule['about']}"))
        elif fields[name] is not None or not rule["nullable"]:
            faults += CHECKS[rule["check"]](name, fields[name], rule)
    faults += [_unknown(name, rules, task) for name in fields if name not in rules["fields"]]
    return [*faults, *_faults_between(rules, fields)]


def _unknown(name: str, rules: Mapping[str, Any], task: str) -> Fault:
    if name in rules["unsupported"]:
        return Fault(name, rules["unsupported"][name])
    allowed = rules["fields"]
    likely = rules["aliases"].get(name)
    if likely not in allowed:
        likely = next(iter(get_close_matches(name[:80], allowed, n=1)), None)
    hint = f"did you mean {likely!r}? " if likely else ""
    return Fault(name, f"is not a field of {task}; {hint}allowed: {', '.join(allowed)}")


def _faults_between(rules: Mapping[str, Any], fields: Mapping[str, Any]) -> list[Fault]:
    """Return the faults between fields: too many images, a mask, a resolution."""
    faults = []
    images = fields.get("image_urls")
    count = len(images) if isinstance(images, list) else 0
    rule = rules["fields"].get("image_urls")
    if rule and count > rule["maximum"]:
        faults.append(Fault("image_urls", f"has {count} URLs; give {rule['about']}"))
    if "mask_url" in rules["fields"] and fields.get("mask_url") is not None and count > 1:
        message = f"works with exactly one image, but image_urls has {count}"
        faults.append(Fault("mask_url", message))
    for between in rules["between"]:
        resolution = between["if"]["properties"].get("resolution", {}).get("const")
        if resolution is not None and fields.get("resolution") == resolution:
            faults += _resolution_faults(between["then"]["properties"], resolution, rules, fields)
    return faults


def _resolution_faults(
    limits: Mapping[str, Any],
    resolution: str,
    rules: Mapping[str, Any],
    fields: Mapping[str, Any],
) -> list[Fault]:
    faults = []
    ratio_rule = rules["fields"]["aspect_ratio"]
    ratio, here = fields.get("aspect_ratio", ratio_rule["default"]), limits["aspect_ratio"]["enum"]
    if ratio in ratio_rule["allowed"] and ratio not in here:
        given = "" if "aspect_ratio" in fields else ", because it was left out"
        message = f"is {ratio!r}{given}, which Kie does not make in {resolution}"
        faults.append(Fault("aspect_ratio", f"{message}; allowed: {', '.join(here)}"))
    background = fields.get("background")
    if "background" in limits and background in rules["fields"]["background"]["allowed"]:
        message = f"is {background!r}, which Kie does not make in {resolution}"
        faults.append(Fault("background", f"{message}; leave it out"))
    return faults
