"""Fields and checks that the request models of several families share.

A check raises `ValueError` with a sentence that says what was given and what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from shared.errors import Fault
from shared.field_faults import format_value
from shared.text_and_url_checks import (
    NON_BLANK_TEXT_SCHEMA,
    URL_LENGTH_MAX,
    check_public_url,
    has_lone_surrogate,
    optional,
)

PROMPT_LENGTH_MAX = 20_000
PUBLIC_URL_SCHEMA: dict[str, Any] = {"format": "public-url"}
_PROMPT = f"text of 1 to {PROMPT_LENGTH_MAX:,} characters"
_IMAGES_OF_A_JOB_MAX = 1_000
NO_IMAGES = "is refused: text-to-image takes no images; use the task image-to-image"


def list_values(values: Sequence[object], conjunction: str) -> str:
    """Return the values in a sentence: `1, 2 or 4`."""
    *first, last = map(str, values)
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def images_phrase(maximum: int) -> str:
    """Return what a field of up to `maximum` image URLs takes."""
    if maximum == 1:
        return "one public http:// or https:// image URL"
    return f"1 to {maximum} public http:// or https:// image URLs"


def check_prompt(value: object) -> str:
    """Return a prompt that Kie takes and Postgres can store."""
    if not isinstance(value, str):
        raise ValueError(f"must be {_PROMPT}, not {format_value(value)}")
    if not value.strip():
        raise ValueError(f"is blank; it must be {_PROMPT}")
    if len(value) > PROMPT_LENGTH_MAX:
        raise ValueError(f"is {len(value):,} characters long; it must be {_PROMPT}")
    if "\0" in value:
        raise ValueError("contains a NUL character, which cannot be stored; remove it")
    if has_lone_surrogate(value):
        raise ValueError("contains half of a character (a lone surrogate); send valid Unicode")
    return value


def check_choice(allowed: Sequence[str], hint: str = "") -> Callable[[object], object]:
    """Return a check for one of the texts. `hint` ends the sentence."""

    def check(value: object) -> object:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"is {format_value(value)}; allowed: {', '.join(allowed)}{hint}")
        return value

    return check


def check_flag(value: object) -> object:
    """Return true or false. Other values are refused, also 0 and 1."""
    if not isinstance(value, bool):
        raise ValueError(f"is {format_value(value)}; allowed: true and false")
    return value


def check_images(maximum: int) -> Callable[[object], object]:
    """Return a check for a list of image URLs. `find_image_count_fault` refuses too many."""
    allowed = images_phrase(maximum)

    def check(value: object) -> object:
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list of {allowed}, not {format_value(value)}")
        if not value:
            raise ValueError(f"is empty; give {allowed}")
        return tuple(value[:maximum])

    return check


def find_image_count_fault(fields: Mapping[str, Any], maximum: int) -> list[Fault]:
    """Return the fault of more than `maximum` image URLs, if any."""
    given = fields.get("image_urls")
    count = len(given) if isinstance(given, list | tuple) else 0
    if count <= maximum:
        return []
    return [Fault("image_urls", f"has {count} URLs; give {images_phrase(maximum)}")]


def one_image_sentence(quantity: int | None = None) -> str:
    """Return why a family of the Market makes one image, and what the caller does instead."""
    jobs = "one job per image" if quantity is None else f"{quantity} jobs of quantity 1"
    return f"one task makes one image: place {jobs}, with POST /v1/jobs/batch or `enqueue_many`"


def _check_one_image(value: object) -> object:
    if isinstance(value, int) and 2 <= value <= _IMAGES_OF_A_JOB_MAX:
        raise ValueError(f"is {value}; {one_image_sentence(value)}")
    if isinstance(value, bool) or not isinstance(value, int) or value != 1:
        raise ValueError(f"is {format_value(value)}; allowed: the number 1")
    return value


_PromptText = Annotated[
    str, Field(max_length=PROMPT_LENGTH_MAX, json_schema_extra=NON_BLANK_TEXT_SCHEMA)
]
Prompt = Annotated[_PromptText, BeforeValidator(check_prompt), Field(description=_PROMPT)]
OptionalPrompt = Annotated[_PromptText | None, optional(check_prompt), Field(description=_PROMPT)]
PublicUrl = Annotated[
    str,
    BeforeValidator(check_public_url),
    Field(max_length=URL_LENGTH_MAX, json_schema_extra=PUBLIC_URL_SCHEMA),
]
Flag = Annotated[bool, BeforeValidator(check_flag)]
OneImage = Annotated[
    Literal[1],
    BeforeValidator(_check_one_image),
    Field(description="how many images: 1, because one task makes one image"),
]
