"""Writes what Kie has said of its models, without asking a Kie."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from tests.support.deployment import Deployment

_MODEL = """
INSERT INTO kie_models (kie_model, family, sold_as, tasks, checked_at, is_listed, missing_parts,
                        price_text, price_credits, rated_at, success_percent,
                        usual_success_percent, catalog_fingerprint)
VALUES ($1, $2, $3, $4, now(), $5, $6, $7, $8, now(), $9, $10, 'current')
"""
_SURPRISE = """
INSERT INTO kie_surprises (day, family, kind, value, seen, example)
VALUES ((now() AT TIME ZONE 'UTC')::date, $1, 'field', $2, 7, $3)
"""


async def tell_of_model(
    deployment: Deployment,
    kie_model: str,
    *,
    family: str,
    task: str,
    sold_as: Sequence[str] = (),
    is_listed: bool = True,
    missing_parts: Sequence[str] = (),
    price_text: str | None = None,
    price_credits: Sequence[Decimal] = (),
    success_percent: Decimal | None = None,
    usual_success_percent: Decimal | None = None,
) -> None:
    """Write what the catalogue says of one model at Kie. It is sold as its family, and more."""
    await deployment.run_sql(
        _MODEL,
        *(kie_model, family, [family, *sold_as], [task], is_listed, list(missing_parts)),
        *(price_text, list(price_credits), success_percent, usual_success_percent),
    )


async def tell_of_surprise(
    deployment: Deployment, family: str, value: str, example: str = "{}"
) -> None:
    """Write that responses of today had a field that no reader knows."""
    await deployment.run_sql(_SURPRISE, family, value, example)
