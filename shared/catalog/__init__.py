"""The catalog of model families. Each module of `shared.catalog.families` defines one family."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from shared.catalog import families
from shared.catalog.model_family import ImageRequest, KieRequest, KieResponse, ModelFamily
from shared.errors import Fault, InvalidRequest

__all__ = [
    "ImageRequest",
    "KieRequest",
    "KieResponse",
    "ModelFamily",
    "carry_request",
    "get_family",
    "list_families",
    "list_routes",
]


@cache
def list_families() -> Mapping[str, ModelFamily]:
    """Return all families by name."""
    found: dict[str, ModelFamily] = {}
    for module in iter_modules(families.__path__):
        one: ModelFamily = import_module(f"{families.__name__}.{module.name}").FAMILY
        found[one.name] = one
    return MappingProxyType(found)


def get_family(name: str) -> ModelFamily:
    """Return the family of that name. Raises `InvalidRequest` with the existing names."""
    try:
        return list_families()[name]
    except KeyError:
        known = ", ".join(repr(one) for one in sorted(list_families()))
        raise InvalidRequest(
            [Fault("model", f"{name!r} is not in the catalog; allowed: {known}")]
        ) from None


@cache
def list_routes(model: str) -> tuple[str, ...]:
    """Return the families, beside the model's own, that can send its requests."""
    return tuple(sorted(name for name, one in list_families().items() if model in one.carries))


def carry_request(request: ImageRequest, route: str) -> ImageRequest:
    """Return the request of the family `route` that makes the images of this request.

    Raises `InvalidRequest` with every field that the family cannot carry, or if it carries no
    requests of this model.
    """
    carry = get_family(route).carries.get(request.model)
    if carry is None:
        raise InvalidRequest([Fault("model", f"{request.model!r} cannot be sent by {route}")])
    return carry(request)
