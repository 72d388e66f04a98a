"""The models: by which family the jobs of each are sent to Kie, and the choice of another."""

from __future__ import annotations

from producer.actor import MAX_REASON_LENGTH
from producer.console.page import CONSOLE, PageCall, PageView, Redirect
from producer.model_routes import Model, model_not_found
from shared.errors import Fault, InvalidRequest

_PATH = f"{CONSOLE}/models"


async def show_models(call: PageCall) -> PageView:
    """Show each model with its tasks and its route."""
    return PageView("models.html", {"models": await call.producer.models.list()})


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
