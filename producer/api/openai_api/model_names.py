"""The model names that callers may send: our families, and names of OpenAI that stand for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from producer.api.responses.http_errors import HttpRefusal
from producer.orders.field_limits import DEFAULT_MODEL
from shared.catalog import ModelFamily, list_families

_GPT_4O = "gpt-4o-image"
_FLARE: tuple[str, Mapping[str, Any]] = ("gpt-image-2-5", {"edition": "flare"})
_SUNBURST: tuple[str, Mapping[str, Any]] = ("gpt-image-2-5", {"edition": "sunburst"})
_ALIASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    # OpenAI has retired these. Programs and examples that name them go on working.
    "dall-e-2": (_GPT_4O, {}),
    "dall-e-3": (_GPT_4O, {}),
    # OpenAI's own name for the image model of GPT-4o, and its smaller version.
    "gpt-image-1": (_GPT_4O, {}),
    "gpt-image-1-mini": (_GPT_4O, {}),
    "gpt-image-2-2026-04-21": ("gpt-image-2", {}),
    "gpt-image-2.5-flare": _FLARE,
    "gpt-image-2.5-flare-2026-09-08": _FLARE,
    "gpt-image-2.5-sunburst": _SUNBURST,
    "gpt-image-2.5-sunburst-2026-09-08": _SUNBURST,
    "chatgpt-image-latest": _SUNBURST,
}
"""Names of OpenAI that are no family of ours, each with the family that makes the images, and the
fields of its requests that the name decides."""
_URL_BY_DEFAULT = frozenset({"dall-e-2", "dall-e-3"})


class ModelNotFound(HttpRefusal):
    """No model has this name."""

    code = "model_not_found"
    status = HTTPStatus.NOT_FOUND

    def __init__(self, name: str) -> None:
        known = ", ".join(repr(one) for one in sorted(list_models()))
        super().__init__(f"the model {name!r:.80} does not exist; there are: {known}")


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model as a caller names it."""

    name: str
    family: ModelFamily
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the family's requests that the name decides."""

    @property
    def answers_with_url(self) -> bool:
        """Whether OpenAI answers a request for this model with URLs by default."""
        return self.name in _URL_BY_DEFAULT

    @property
    def is_dall_e(self) -> bool:
        """Whether this is a name of the models before the GPT image models."""
        return self.name.startswith("dall-e-")


def list_models() -> Mapping[str, NamedModel]:
    """Return all models by name: every family, and every alias whose family exists."""
    families = list_families()
    aliases = {
        alias: NamedModel(alias, families[name], fields)
        for alias, (name, fields) in _ALIASES.items()
        if name in families
    }
    return aliases | {name: NamedModel(name, family) for name, family in families.items()}


def find_model(name: str | None) -> NamedModel:
    """Return the model of that name; None means the default model. Raises `ModelNotFound`."""
    found = list_models().get(DEFAULT_MODEL if name is None else name)
    if found is None:
        raise ModelNotFound(str(name))
    return found
