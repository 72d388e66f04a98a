"""POST /api/v1/jobs/createTask: the request, checked by what the catalog knows of the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from shared.catalog.model_family import KieModel

from .create_request import (
    FIELD_REQUIRED,
    CreateRequest,
    InvalidRequestError,
    check_callback,
    read_object,
    serialise_again,
)
from .input_schema import check_input

MARKET = "market"

_RATIO = re.compile(r"[1-9][0-9]{0,2}:[1-9][0-9]{0,2}")
_BESIDE_INPUT = frozenset({"model", "input", "callBackUrl"})


class NoSuchModelError(InvalidRequestError):
    """The Market makes nothing with the model of this name. Has the recorded code and text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def parse_market_request(
    raw: bytes, models: Mapping[str, KieModel], paused_model: str = ""
) -> CreateRequest:
    """Return the request of a body. Raises `NotJsonError` or `InvalidRequestError`.

    Fields of `input` that the model does not have are ignored, as Kie ignores them: the task is
    made and charged as if they had been left out. Null is the same as absence.
    """
    given: dict[str, Any] = read_object(raw)
    model = _find_model(given, models, paused_model)
    task_input = _read_input(given)
    known = model.input_schema["properties"]
    obeyed = {
        name: value for name, value in task_input.items() if name in known and value is not None
    }
    check_input(model.input_schema, obeyed)
    check_callback(given)
    prompt = obeyed.get("prompt")
    return CreateRequest(
        prompt=prompt if isinstance(prompt, str) else "",
        size=_read_ratio(known, obeyed),
        n_variants=1,
        call_back_url=given.get("callBackUrl") or "",
        param_json=_echo(given, task_input),
        unknown_fields=tuple(
            sorted({*(given.keys() - _BESIDE_INPUT), *(task_input.keys() - known.keys())})
        ),
        input_urls=_list_urls(known, obeyed),
        endpoint=MARKET,
        model=model.name,
        credits=model.credits_for(obeyed),
    )


def _find_model(
    given: Mapping[str, Any], models: Mapping[str, KieModel], paused_model: str
) -> KieModel:
    name = given.get("model")
    if not name:
        raise InvalidRequestError("model is required", FIELD_REQUIRED)
    model = models.get(name) if isinstance(name, str) else None
    if model is None:
        raise NoSuchModelError(
            422,
            "The model name you specified is not supported. Please verify your input and use one"
            " of the supported models provided by KIE.",
        )
    if model.name == paused_model:
        raise NoSuchModelError(500, "This interface is temporarily paused")
    return model


def _read_input(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `input`, which Kie takes as JSON text as well."""
    task_input = given.get("input")
    if isinstance(task_input, str):
        try:
            task_input = orjson.loads(task_input)
        except orjson.JSONDecodeError:
            task_input = None
    if task_input is None:
        raise InvalidRequestError("input is required", FIELD_REQUIRED)
    if not isinstance(task_input, dict):
        raise InvalidRequestError("input must be an object")
    return task_input


def _echo(given: Mapping[str, Any], task_input: dict[str, Any]) -> str:
    """Return `param` of the record: `input` is JSON text inside JSON text."""
    echoed = {**given, "input": serialise_again(task_input)}
    return orjson.dumps(
        {name: echoed[name] for name in ("input", "callBackUrl", "model") if name in echoed}
    ).decode()


def _read_ratio(known: Mapping[str, Any], obeyed: Mapping[str, Any]) -> str:
    """Return the ratio of the image: the model's default where the request has none, or 1:1."""
    default = known.get("aspect_ratio", {}).get("default")
    ratio = obeyed.get("aspect_ratio") or obeyed.get("size") or default
    return ratio if isinstance(ratio, str) and _RATIO.fullmatch(ratio) else "1:1"


def _list_urls(known: Mapping[str, Any], obeyed: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the images from which Kie starts: the values that the schema calls URIs."""
    urls: list[str] = []
    for name, value in obeyed.items():
        if known[name].get("format") == "uri":
            urls.append(value)
        elif known[name].get("items", {}).get("format") == "uri":
            urls += value
    return tuple(url for url in urls if urlsplit(url).scheme)
