"""Reads what Kie says of its models and prices, and what of its responses no reader knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from producer.list_pages import DEFAULT_LIST_LIMIT
from shared.adapters.postgres.row_dicts import as_dicts
from shared.domain.alerts.kie_model_alert_rules import is_unreliable
from shared.job_json import credits_to_json, timestamp_to_json

if TYPE_CHECKING:
    from shared.adapters.postgres.database import Queries

SURPRISE_DAYS = 90
"""How far back surprises are listed. They are deleted after this."""
SURPRISE_DAYS_DEFAULT = 7


@dataclass(frozen=True, slots=True)
class KieModelHealth:
    """What Kie's catalogue last said of one of its models."""

    kie_model: str
    family: str
    sold_as: tuple[str, ...]
    tasks: tuple[str, ...]
    checked_at: datetime
    is_listed: bool
    missing_parts: tuple[str, ...]
    price_text: str | None
    price_credits: tuple[Decimal, ...]
    rated_at: datetime | None
    success_percent: Decimal | None
    usual_success_percent: Decimal | None

    @property
    def is_well(self) -> bool:
        """Whether Kie lists it with everything that our requests use."""
        return self.is_listed and not self.missing_parts

    @property
    def is_unreliable(self) -> bool:
        """Whether its success rate of the last hour is low and below the usual one."""
        return is_unreliable(self.success_percent, self.usual_success_percent)


class PriceVerdict(StrEnum):
    """How a price that we keep compares with Kie's price text."""

    AGREES = "agrees"
    """Kie's text names it."""
    MOVED = "moved"
    """Kie's text names other numbers of credits."""
    UNCONFIRMED = "unconfirmed"
    """Kie's text says nothing about it: it is for one image, or has no number."""
    NOT_ASKED = "not_asked"
    """No worker has asked Kie about the model yet."""


@dataclass(frozen=True, slots=True)
class ComparedPrice:
    """A row of `pricing` beside what Kie says."""

    model: str
    task: str
    quantity: int
    variant: str
    credits: Decimal
    provider_credits: Decimal
    kie_credits: tuple[Decimal, ...]
    """The credits that Kie's price text names for the model."""
    kie_price_text: str | None
    verdict: PriceVerdict
    checked_at: datetime | None


@dataclass(frozen=True, slots=True)
class KieSurprise:
    """What Kie's responses contained on one day and no reader knows."""

    day: date
    family: str
    kind: str
    value: str
    seen: int
    first_seen_at: datetime
    last_seen_at: datetime
    example: str
    """The first response of the day with it, as JSON text without private values."""


class KieReports:
    """Reads what workers learned from Kie. Every method may raise `PostgresDown`."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def models(self) -> list[KieModelHealth]:
        """Return what Kie's catalogue last said of each of its models that a family uses."""
        return await read_kie_models(self._queries)

    async def surprises(
        self, days: int = SURPRISE_DAYS_DEFAULT, limit: int = DEFAULT_LIST_LIMIT
    ) -> list[KieSurprise]:
        """Return what Kie's responses of the last days contained and no reader knows.

        The newest first. Days are those of UTC. Surprises are kept for 90 days.
        """
        rows = await self._queries.fetch("list_kie_surprises", days, limit)
        return [KieSurprise(**dict(row)) for row in rows]

    async def compare_prices(self) -> list[ComparedPrice]:
        """Return each price in force beside what Kie's price texts name."""
        prices = await self._queries.fetch("list_prices")
        return compare_prices(as_dicts(prices), await self.models())


async def read_kie_models(queries: Queries) -> list[KieModelHealth]:
    """Return what Kie last said of each model that a family uses. Raises `PostgresDown`."""
    rows = await queries.fetch("list_kie_models")
    lists = ("sold_as", "tasks", "missing_parts", "price_credits")
    return [
        KieModelHealth(**dict(row) | {name: tuple(row[name]) for name in lists}) for row in rows
    ]


def compare_prices(
    prices: Sequence[Mapping[str, Any]], models: Sequence[KieModelHealth]
) -> list[ComparedPrice]:
    """Return each price beside what Kie says of its model and task."""
    return [_compare(price, _models_of(price, models)) for price in prices]


def _models_of(
    price: Mapping[str, Any], models: Sequence[KieModelHealth]
) -> Sequence[KieModelHealth]:
    return [one for one in models if price["model"] in one.sold_as and price["task"] in one.tasks]


def _compare(price: Mapping[str, Any], models: Sequence[KieModelHealth]) -> ComparedPrice:
    told = tuple(dict.fromkeys(credits for one in models for credits in one.price_credits))
    texts = dict.fromkeys(one.price_text for one in models if one.price_text)
    return ComparedPrice(
        *(price["model"], price["task"], price["quantity"], price["variant"]),
        *(price["credits"], price["provider_credits"], told),
        kie_price_text="; ".join(texts) or None,
        verdict=_verdict(price, models, told),
        checked_at=max((one.checked_at for one in models), default=None),
    )


def _verdict(
    price: Mapping[str, Any], models: Sequence[KieModelHealth], told: Sequence[Decimal]
) -> PriceVerdict:
    if not models:
        return PriceVerdict.NOT_ASKED
    if price["quantity"] != 1 or not told:
        return PriceVerdict.UNCONFIRMED
    return PriceVerdict.AGREES if price["provider_credits"] in told else PriceVerdict.MOVED


def kie_model_to_json(model: KieModelHealth) -> dict[str, Any]:
    """Return the model as the JSON object of HTTP and CLI."""
    return {
        "kie_model": model.kie_model,
        "family": model.family,
        "tasks": list(model.tasks),
        "checked_at": timestamp_to_json(model.checked_at),
        "is_listed": model.is_listed,
        "missing_parts": list(model.missing_parts),
        "price_text": model.price_text,
        "price_credits": [credits_to_json(one) for one in model.price_credits],
        "rated_at": timestamp_to_json(model.rated_at),
        "success_percent": credits_to_json(model.success_percent),
        "usual_success_percent": credits_to_json(model.usual_success_percent),
    }


def compared_price_to_json(price: ComparedPrice) -> dict[str, Any]:
    """Return the comparison as the JSON object of HTTP and CLI."""
    return {
        "model": price.model,
        "task": price.task,
        "quantity": price.quantity,
        "variant": price.variant,
        "credits": credits_to_json(price.credits),
        "provider_credits": credits_to_json(price.provider_credits),
        "kie_credits": [credits_to_json(one) for one in price.kie_credits],
        "kie_price_text": price.kie_price_text,
        "verdict": str(price.verdict),
        "checked_at": timestamp_to_json(price.checked_at),
    }


def kie_surprise_to_json(surprise: KieSurprise) -> dict[str, Any]:
    """Return the surprise as the JSON object of HTTP and CLI."""
    return {
        "day": surprise.day.isoformat(),
        "family": surprise.family,
        "kind": surprise.kind,
        "value": surprise.value,
        "seen": surprise.seen,
        "first_seen_at": timestamp_to_json(surprise.first_seen_at),
        "last_seen_at": timestamp_to_json(surprise.last_seen_at),
        "example": surprise.example,
    }
