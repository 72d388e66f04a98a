"""The models: their routes and prices, what Kie says of them, and the choice of another route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from producer.actor import MAX_REASON_LENGTH
from producer.console.page import CONSOLE, PageCall, PageView, Redirect
from producer.model_routes import Model, model_not_found
from producer.monitoring.kie_models import SURPRISE_DAYS_DEFAULT, KieModelHealth
from shared.errors import Fault, InvalidRequest

_PATH = f"{CONSOLE}/models"
_SURPRISES = 20
"""How many are shown, of which each may have an example of 2,000 characters."""


@dataclass(frozen=True, slots=True)
class ShownModel:
    """A model as the page shows it."""

    model: Model
    prices: Mapping[str, Sequence[Mapping[str, Any]]]
    """Its rows of `pricing`, by task. A task without a row has an empty list."""
    at_kie: Sequence[KieModelHealth]
    """What Kie last said of the models at Kie that make its images, by any route."""


async def show_models(call: PageCall) -> PageView:
    """Show each model with its route, its prices and what Kie says of it."""
    producer = call.producer
    prices, at_kie = await call.billing.prices(), await producer.kie.models()
    values = {
        "models": [_show(one, prices, at_kie) for one in await producer.models.list()],
        "at_kie": at_kie,
        "surprises": await producer.kie.surprises(SURPRISE_DAYS_DEFAULT, _SURPRISES),
        "surprise_days": SURPRISE_DAYS_DEFAULT,
    }
    return PageView("models.html", values)


def _show(
    model: Model, prices: Sequence[Mapping[str, Any]], at_kie: Sequence[KieModelHealth]
) -> ShownModel:
    own = [row for row in prices if row["model"] == model.name]
    return ShownModel(
        model,
        {task: [row for row in own if row["task"] == task] for task in model.tasks},
        [one for one in at_kie if model.name in one.sold_as],
    )


async def ask_route(call: PageCall) -> PageView:
    """Show by which families the model can be sent."""
    model = await _find_model(call)
    families = [name for name in (model.name, *model.routes) if name != model.via]
    labels = [(name, "its own family" if name == model.name else name) for name in families]
    values = {"model": model, "families": labels, "given": call.form}
    return PageView("model_route.html", values, title=f"Route {model.name}")


async def choose_route(call: PageCall) -> PageView | Redirect:
    """Show what a route means for the queued jobs, and choose it once that is confirmed."""
    model = await _find_model(call)
    via, reason = call.form.get("via", ""), call.form.get("reason", "").strip()
    if len(reason) > MAX_REASON_LENGTH:
        raise InvalidRequest([Fault("reason", f"say why, in up to {MAX_REASON_LENGTH} characters")])
    preview = await call.producer.models.preview(model.name, via)
    if call.form.get("confirmed") != "yes":
        values = {"model": model, "preview": preview, "reason": reason}
        return PageView("model_route_confirm.html", values, title="Send jobs by another family?")
    routed = await call.producer.models.route(
        model.name, via, reason=reason or None, actor=call.actor
    )
    how = "its own family" if routed.via == routed.name else routed.via
    return Redirect(_PATH, f"{routed.name} is sent by {how}.")


async def _find_model(call: PageCall) -> Model:
    name = call.part("model")
    for one in await call.producer.models.list():
        if one.name == name:
            return one
    raise model_not_found(name)
