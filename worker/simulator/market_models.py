"""The models of the Market, from the catalog, as the switches have changed them.

A new family of the catalog is known here without any change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any

from shared.catalog import list_families
from shared.catalog.model_family import KieModel

from .fault_switches import FaultSwitches

_AMOUNT = re.compile(r"(?<![0-9.])([0-9]+(?:\.[0-9]+)?)(?= credits\b)|(?<=\$)([0-9]+(?:\.[0-9]+)?)")


def list_models(faults: FaultSwitches) -> Mapping[str, KieModel]:
    """Return the models that Kie knows now, by name."""
    return _list_models(faults.gone_model, faults.gone_field, faults.price_factor)


@cache
def _list_models(gone_model: str, gone_field: str, price_factor: float) -> Mapping[str, KieModel]:
    models = {
        one.name: one
        for family in list_families().values()
        for one in family.kie_models
        if one.name != gone_model
    }
    return MappingProxyType(
        {name: _change(one, gone_field, price_factor) for name, one in models.items()}
    )


def _change(model: KieModel, gone_field: str, price_factor: float) -> KieModel:
    if gone_field:
        model = replace(model, input_schema=_without_field(model.input_schema, gone_field))
    if price_factor == 1.0:
        return model
    factor = Decimal(str(price_factor))
    # What a task costs is multiplied when it is created, as on the other endpoint.
    text = _AMOUNT.sub(
        lambda found: f"{(Decimal(found[0]) * factor).normalize():f}", model.price_text
    )
    return replace(model, price_text=text)


def _without_field(schema: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """Return the schema without a field and without the rules that name it."""
    kept = dict(schema)
    kept["properties"] = {name: one for name, one in schema["properties"].items() if name != field}
    kept["required"] = [name for name in schema.get("required", ()) if name != field]
    kept["allOf"] = [rule for rule in schema.get("allOf", ()) if f"'{field}'" not in str(rule)]
    return kept
