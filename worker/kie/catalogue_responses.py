"""Reads Kie's catalogue API: which models exist, their fields, prices and success rates.

The shapes are those of answers that others saved in October 2026. Whatever is not as expected is
read as "not told", never as a change of Kie's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from shared.catalog import KieRequest, KieResponse
from shared.catalog.kie_response_codes import SUCCESS_CODE, parse_envelope

MODELS = KieRequest("GET", "/api/v1/models")
_POINTS_OF_AN_HOUR = 6
_CREDITS = re.compile(r"([0-9]{1,6}(?:[.,][0-9]{1,3})?)\s*credits?\b", re.IGNORECASE)
_CREATE_TASK = "/api/v1/jobs/createTask"


@dataclass(frozen=True, slots=True)
class SuccessRate:
    """Kie's success rate of one model, in percent."""

    last_hour_percent: Decimal
    usual_percent: Decimal
    """The mean of all intervals that Kie reports, about a day."""


def schema_request(kie_model: str) -> KieRequest:
    """Return the request for the schema of a model."""
    return KieRequest("GET", f"/api/v1/models/{quote(kie_model, safe='/')}/schema")


def success_rate_request(kie_model: str) -> KieRequest:
    """Return the request for the success rate of a model."""
    return KieRequest("GET", f"/api/v1/models/{quote(kie_model, safe='/')}/success-rate")


def read_price_texts(response: KieResponse) -> Mapping[str, str | None] | None:
    """Return the price text of each model that Kie lists, by its name; None if it tells no list."""
    data = _data(response)
    models = data.get("models") if data is not None else None
    if not isinstance(models, list) or not models:
        return None
    found: dict[str, str | None] = {}
    for one in models:
        name = one.get("model") if isinstance(one, Mapping) else None
        if not isinstance(name, str) or not name.strip():
            return None
        price = one.get("pricingDesc")
        found[name.strip()] = price if isinstance(price, str) and price.strip() else None
    return found


def read_input_schema(response: KieResponse) -> Mapping[str, Any] | None:
    """Return the JSON Schema of a model's `input`; None if Kie gives none."""
    data = _data(response)
    if data is None:
        return None
    paths = _member(_strip_keys(data.get("openapi")), "paths", _CREATE_TASK, "post")
    schema = _member(paths, "requestBody", "content", "application/json", "schema")
    found = _member(schema, "properties", "input")
    return found if found is not None and _member(found, "properties") else None


def read_success_rate(response: KieResponse) -> SuccessRate | None:
    """Return the success rate; None if Kie reports none."""
    data = _data(response)
    points = data.get("points") if data is not None else None
    if not isinstance(points, list):
        return None
    percents = [_percent(one) for one in points]
    known = [one for one in percents if one is not None]
    if not known:
        return None
    newest = known[-_POINTS_OF_AN_HOUR:]
    return SuccessRate(_mean(newest), _mean(known))


def find_missing_parts(ours: Mapping[str, Any], kies: Mapping[str, Any]) -> list[str]:
    """Return what our requests use and Kie's schema lacks, and what it newly requires, by name."""
    known: Mapping[str, Any] = ours.get("properties") or {}
    told: Mapping[str, Any] = kies.get("properties") or {}
    missing = [name for name in known if name not in told]
    for name in known.keys() & told.keys():
        missing += [f"{name}={value}" for value in _lost_values(known[name], told[name])]
    required = kies.get("required")
    new = set(required if isinstance(required, list) else ()) - known.keys()
    return sorted(missing) + sorted(f"required: {name}" for name in map(str, new))


def read_credits(price_text: str | None) -> list[Decimal]:
    """Return the numbers of credits that a price text names, in its order, each once."""
    found = (one.replace(",", ".") for one in _CREDITS.findall(price_text or ""))
    return list(dict.fromkeys(Decimal(one).normalize() for one in found))


def _lost_values(ours: object, kies: object) -> list[str]:
    known = _member(ours, "enum") if isinstance(ours, Mapping) else None
    told = _member(kies, "enum") if isinstance(kies, Mapping) else None
    if not isinstance(known, list) or not isinstance(told, list):
        return []
    return [str(value) for value in known if value not in told]


def _data(response: KieResponse) -> Mapping[str, Any] | None:
    envelope = parse_envelope(response)
    if not envelope.is_http_success or envelope.code != SUCCESS_CODE:
        return None
    return envelope.data if isinstance(envelope.data, Mapping) else None


def _strip_keys(value: object) -> object:
    """Return the value with the blanks around keys removed, which some of Kie's schemas have."""
    if isinstance(value, Mapping):
        return {str(key).strip(): _strip_keys(inner) for key, inner in value.items()}
    return [_strip_keys(one) for one in value] if isinstance(value, list) else value


def _member(value: object, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _percent(point: object) -> Decimal | None:
    rate = _member(point, "successRate")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 100:
        return None
    return Decimal(str(rate))


def _mean(percents: Sequence[Decimal]) -> Decimal:
    return round(sum(percents, Decimal(0)) / len(percents), 1)
