"""A create request, and the check of one to the endpoint of the 4o image model.

The values that a field takes are those of the catalog. The names and types of the fields, the
number of files and the prices are the simulator's own, because it judges requests by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import orjson

from shared.catalog.families.gpt4o_image import ASPECT_RATIOS, FALLBACK_MODELS, QUANTITIES

MAX_FILES = 5
DEDICATED = "dedicated"
"""The name of the 4o image model's own endpoint."""


CREDITS_BY_QUANTITY: Mapping[int, Decimal] = MappingProxyType(
    {1: Decimal(6), 2: Decimal(7), 4: Decimal(8)}
)


class NotJsonError(ValueError):
    """The body is not a JSON object."""


class InvalidRequestError(ValueError):
    """A field is missing or wrong. The message is the first fault, as Kie returns only one.

    `recorded` is the text that Kie has been recorded to send with code 500. It names no field when
    one is missing.
    """

    def __init__(self, message: str, recorded: str = "") -> None:
        super().__init__(message)
        self.recorded = recorded or message


def out_of_range(field: str, allowed: Iterable[object]) -> InvalidRequestError:
    """The fault of a value that is not one of those allowed."""
    return InvalidRequestError(
        f"{field} must be one of {', '.join(map(str, allowed))}",
        f"{field} is not within the range of allowed options",
    )


FIELD_REQUIRED = "This field is required"


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A valid create call. ``param_json`` is the text that record-info echoes.

    Kie serialises the request again for it: the keys stand in another order.
    """

    prompt: str
    size: str
    n_variants: int
    call_back_url: str
    param_json: str
    unknown_fields: tuple[str, ...]
    input_urls: tuple[str, ...] = ()
    """The images from which Kie starts, the mask among them."""
    endpoint: str = DEDICATED
    model: str = "gpt-4o-image"
    credits: Decimal = CREDITS_BY_QUANTITY[1]

    @property
    def callback_token(self) -> str:
        """Return the last segment of the path of the callback URL: the token of the caller."""
        return urlsplit(self.call_back_url).path.rpartition("/")[2]


def read_object(raw: bytes) -> dict[str, object]:
    """Return the JSON object of a body. Raises `NotJsonError`."""
    try:
        given = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise NotJsonError(str(error)) from error
    if not isinstance(given, dict):
        raise NotJsonError("the body is not an object")
    return given


def serialise_again(given: dict[str, Any]) -> str:
    """Return the fields as JSON text in another order of keys, as Kie echoes a request."""
    return orjson.dumps(dict(reversed(given.items()))).decode()


def parse_create_request(raw: bytes, *, one_image: bool = False) -> CreateRequest:
    """Return the request of a body. Raises `NotJsonError` or `InvalidRequestError`.

    With `one_image`, Kie does not know the fields that its page no longer has, `nVariants` among
    them: they are neither checked nor obeyed. Null in an optional field is the same as its absence.
    """
    whole: dict[str, Any] = read_object(raw)
    known = DOCUMENTED_FIELDS if one_image else KNOWN_FIELDS
    given = {name: value for name, value in whole.items() if name not in KNOWN_FIELDS - known}
    for check in _CHECKS:
        check(given)
    n_variants = given.get("nVariants") or 1
    return CreateRequest(
        prompt=given.get("prompt") or "",
        size=given["size"],
        n_variants=n_variants,
        credits=CREDITS_BY_QUANTITY[n_variants],
        call_back_url=given.get("callBackUrl") or "",
        param_json=serialise_again(whole),
        unknown_fields=tuple(sorted(whole.keys() - known)),
        input_urls=_list_input_urls(given),
    )


def _list_input_urls(given: Mapping[str, Any]) -> tuple[str, ...]:
    urls = (*(given.get("filesUrl") or ()), given.get("fileUrl"), given.get("maskUrl"))
    return tuple(url for url in urls if url)


def _check_size(given: dict[str, object]) -> None:
    if "size" not in given:
        instead = next((name for name in _WRONG_SIZE_FIELDS if name in given), None)
        hint = f"; {instead} is not a field of this model" if instead else ""
        raise InvalidRequestError(f"size is required{hint}", FIELD_REQUIRED)
    if given["size"] not in ASPECT_RATIOS:
        raise out_of_range("size", ASPECT_RATIOS)
    wrong = next((name for name in _WRONG_SIZE_FIELDS if name in given), None)
    if wrong:
        raise InvalidRequestError(f"{wrong} is not a field of this model; use size")


def _check_prompt_and_files(given: dict[str, object]) -> None:
    prompt, files = given.get("prompt"), given.get("filesUrl")
    if prompt is not None and not isinstance(prompt, str):
        raise InvalidRequestError("prompt must be a string")
    if files is not None:
        _check_files(files)
    if not prompt and not files and not given.get("fileUrl"):
        raise InvalidRequestError("prompt and filesUrl cannot both be empty", FIELD_REQUIRED)


def _check_files(files: object) -> None:
    if not isinstance(files, list) or not all(isinstance(url, str) for url in files):
        raise InvalidRequestError("filesUrl must be a list of strings")
    if not all(url.strip() for url in files):
        raise InvalidRequestError("filesUrl holds an empty URL", FIELD_REQUIRED)
    if len(files) > MAX_FILES:
        raise InvalidRequestError(f"filesUrl may hold at most {MAX_FILES} URLs")


def _check_variants(given: dict[str, object]) -> None:
    variants = given.get("nVariants")
    if variants is None:
        return
    if isinstance(variants, bool) or not isinstance(variants, int) or variants not in QUANTITIES:
        raise out_of_range("nVariants", QUANTITIES)


def _check_options(given: dict[str, object]) -> None:
    for name in ("isEnhance", "uploadCn", "enableFallback"):
        if not isinstance(given.get(name), bool | None):
            raise InvalidRequestError(f"{name} must be true or false")
    for name in ("maskUrl", "fileUrl", "callBackUrl"):
        if not isinstance(given.get(name) or "", str):
            raise InvalidRequestError(f"{name} must be a string")
    fallback = given.get("fallbackModel")
    if fallback is not None and fallback not in FALLBACK_MODELS:
        raise out_of_range("fallbackModel", FALLBACK_MODELS)


def check_callback(given: Mapping[str, object]) -> None:
    """Raise `InvalidRequestError` unless the callback URL is an HTTP URL or left out."""
    url = str(given.get("callBackUrl") or "")
    if url and not url.startswith(("http://", "https://")):
        raise InvalidRequestError("callBackUrl must be an http or https URL")
    try:
        urlsplit(url)
    except ValueError as error:
        raise InvalidRequestError(f"callBackUrl is not a URL: {error}") from error


_CHECKS: tuple[Callable[[dict[str, Any]], None], ...] = (
    _check_size,
    _check_prompt_and_files,
    _check_variants,
    _check_options,
    check_callback,
)

_WRONG_SIZE_FIELDS = ("aspectRatio", "aspect_ratio")

DOCUMENTED_FIELDS = frozenset({"prompt", "filesUrl", "fileUrl", "size", "callBackUrl"})
"""The fields that Kie's page has since July 2026."""
KNOWN_FIELDS = DOCUMENTED_FIELDS | {
    *("nVariants", "maskUrl", "isEnhance", "uploadCn", "enableFallback", "fallbackModel"),
}
