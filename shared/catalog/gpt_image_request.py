"""The requests of Kie's GPT image models that choose a resolution: `gpt-image-2`, `gpt-image-2-5`.

The resolution decides the price. It also decides which aspect ratios and backgrounds Kie makes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field

from shared.catalog.market_family import MarketRequest
from shared.catalog.request_fields import (
    Prompt,
    PublicUrl,
    check_choice,
    check_images,
    find_image_count_fault,
    images_phrase,
    list_values,
)
from shared.errors import Fault
from shared.text_and_url_checks import optional

IMAGES_MAX = 16
Resolution = Literal["1K", "2K", "4K"]
Background = Literal["transparent", "opaque", "auto"]
RESOLUTIONS: tuple[str, ...] = get_args(Resolution)
BACKGROUNDS: tuple[str, ...] = get_args(Background)
_check_background = check_choice(BACKGROUNDS, ", or leave it out")


class GptImageRequest(MarketRequest):
    """The base class of requests with a resolution. Subclasses add `aspect_ratio`."""

    ratios_at: ClassVar[Mapping[str, Sequence[str]]]
    """The aspect ratios that Kie makes at each resolution."""
    background_at: ClassVar[Collection[str]] = RESOLUTIONS
    """The resolutions at which Kie takes a background."""

    prompt: Prompt
    resolution: Annotated[Resolution, BeforeValidator(check_choice(RESOLUTIONS))] = Field(
        default="1K", description=f"one of {', '.join(RESOLUTIONS)}; it decides the price"
    )
    background: Annotated[Background | None, optional(_check_background)] = Field(
        default=None, description=f"one of {', '.join(BACKGROUNDS)}"
    )

    @property
    def price_variant(self) -> str:
        """The resolution."""
        return self.resolution

    @classmethod
    def find_cross_field_faults(cls, fields: Mapping[str, Any]) -> list[Fault]:
        """Refuse an aspect ratio or a background that Kie does not make at the resolution."""
        resolution = fields.get("resolution", "1K")
        if not isinstance(resolution, str) or resolution not in RESOLUTIONS:
            return []
        faults = []
        ratio = fields.get("aspect_ratio", cls.model_fields["aspect_ratio"].default)
        at_all, here = cls.ratios_at["1K"], cls.ratios_at[resolution]
        if isinstance(ratio, str) and ratio in at_all and ratio not in here:
            given = "" if "aspect_ratio" in fields else ", because it was left out"
            message = f"is {ratio!r}{given}, which Kie does not make in {resolution}"
            faults.append(Fault("aspect_ratio", f"{message}; allowed: {', '.join(here)}"))
        if fields.get("background") in BACKGROUNDS and resolution not in cls.background_at:
            message = f"is {fields['background']!r}, which Kie does not make in {resolution}"
            allowed = list_values([*cls.background_at], "or")
            faults.append(Fault("background", f"{message}; leave it out, or use {allowed}"))
        return faults

    def kie_input(self) -> dict[str, Any]:
        """Return `input` of the submit.

        Ratio and resolution are always sent, because Kie bills its own default for a missing one.
        """
        given = self.model_dump(mode="json", include={"prompt", "aspect_ratio", "resolution"})
        return given if self.background is None else {**given, "background": self.background}


class GptImageEdit(GptImageRequest):
    """The base class of requests with input images."""

    image_urls: Annotated[Sequence[PublicUrl], BeforeValidator(check_images(IMAGES_MAX))] = Field(
        description=images_phrase(IMAGES_MAX), min_length=1, max_length=IMAGES_MAX
    )

    @classmethod
    def find_cross_field_faults(cls, fields: Mapping[str, Any]) -> list[Fault]:
        """Refuse more images than Kie accepts as well."""
        faults = find_image_count_fault(fields, IMAGES_MAX)
        return [*faults, *super().find_cross_field_faults(fields)]

    def kie_input(self) -> dict[str, Any]:
        """Return `input` of the submit."""
        return {**super().kie_input(), "input_urls": list(self.image_urls)}


def resolution_rules(
    ratios_at: Mapping[str, Sequence[str]], background_at: Collection[str] = RESOLUTIONS
) -> dict[str, Any]:
    """Return the rules between fields as JSON Schema, for the OpenAPI document."""
    return {
        "allOf": [
            {
                "if": {
                    "properties": {"resolution": {"const": resolution}},
                    "required": ["resolution"],
                },
                "then": _rules_at(ratios_at[resolution], resolution in background_at),
            }
            for resolution in RESOLUTIONS
            if resolution != "1K"
        ]
    }


def _rules_at(ratios: Sequence[str], takes_background: bool) -> dict[str, Any]:
    rules: dict[str, Any] = {"properties": {"aspect_ratio": {"enum": [*ratios]}}}
    if not takes_background:
        rules["properties"]["background"] = {"type": "null"}
    # The default ratio is `auto`.
    return rules if "auto" in ratios else {**rules, "required": ["aspect_ratio"]}
