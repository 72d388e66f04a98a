"""Finds alerts about Kie's models: what its catalogue said at the last check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from shared.domain.alerts.alert import Alert
from shared.domain.alerts.system_state import KieModelState

UNRELIABLE_PERCENT = Decimal(80)
"""Below this success rate of an hour, and below the usual rate, a model is unreliable."""


def is_unreliable(percent: Decimal | None, usual_percent: Decimal | None) -> bool:
    """Return whether a success rate of an hour is low and below the usual one."""
    if percent is None or usual_percent is None:
        return False
    return percent < min(UNRELIABLE_PERCENT, usual_percent)


def find_kie_model_alerts(models: Sequence[KieModelState]) -> Iterator[Alert]:
    """Return the alerts about Kie's models."""
    for model in models:
        yield from _model_alerts(model)


def _model_alerts(model: KieModelState) -> Iterator[Alert]:
    name = model.kie_model
    if model.is_listed is False:
        yield Alert(
            "kie_model_changed",
            f"Kie's catalogue no longer lists {name}, which {model.family} uses",
            "see Kie's documentation; a newer version may know what Kie has in its place",
            since=model.checked_at,
            subject=name,
        )
    if model.missing_parts:
        yield Alert(
            "kie_model_changed",
            f"Kie's schema of {name} differs from what {model.family} sends:"
            f" {', '.join(model.missing_parts)}",
            "see Kie's documentation, and install a version that knows the change",
            since=model.checked_at,
            subject=name,
        )
    if model.moved_prices:
        yield Alert(
            "kie_price_moved",
            f"Kie's price text of {name} names {', '.join(model.price_credits)} credits, but"
            f" pricing has {'; '.join(model.moved_prices)}",
            "see `darkroom prices compare`, then set provider_credits, and the price if it must"
            " follow",
            since=model.checked_at,
            subject=name,
        )
    percent, usual = model.success_percent, model.usual_success_percent
    if is_unreliable(percent, usual):
        yield Alert(
            "kie_model_unreliable",
            f"Kie reports that {percent:f} % of its tasks of {name} succeeded in the last hour, and"
            f" {usual:f} % in the last day",
            "nothing here: failed tasks cost nothing; `darkroom queue pause --model` holds its jobs"
            " until it is better",
            since=model.checked_at,
            subject=name,
        )
