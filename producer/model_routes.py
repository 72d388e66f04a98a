"""Shows by which family the jobs of each model are sent, and changes it, for operators."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from producer.actor import MAX_REASON_LENGTH, Actor, actor_to_json
from producer.jobs.locked_rows import name_locked_row
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.row_dicts import as_dicts
from shared.adapters.postgres.sqlstates import ACCOUNT_MISSING
from shared.catalog import carry_request, get_family, list_families, list_routes
from shared.errors import DatabaseRefused, Fault, InvalidRequest, NotFound
from shared.job_json import credits_to_json, timestamp_to_json


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """A choice of the family by which the jobs of a model are sent."""

    model: str
    via: str
    """The family. The model itself if its route was taken back."""
    reason: str | None
    routed_by: str
    routed_at: datetime


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the catalog, and how it is sent."""

    name: str
    tasks: tuple[str, ...]
    routes: tuple[str, ...]
    """The other families that can send it."""
    route: ModelRoute | None
    """The newest choice. None if it was always sent by its own family."""

    @property
    def via(self) -> str:
        """The family by which it is sent now."""
        return self.name if self.route is None else self.route.via


@dataclass(frozen=True, slots=True)
class RoutePreview:
    """What a route means for the queued jobs of a model."""

    model: str
    via: str
    carried: int
    """The queued jobs that go by this route."""
    waiting: int
    """The queued jobs that it cannot carry. They wait, and keep what they hold."""
    waiting_by_field: Mapping[str, int]
    """How many of them each field prevents. A job may count for several fields."""
    waiting_credits: Decimal
    """What the jobs that wait hold."""


class ModelRoutes:
    """Lists models and changes their routes. Every method may raise `PostgresDown`.

    A route sends the queued and the new jobs of a model by another family. Tasks that are at Kie
    are polled as they were sent. The model and its price stay the same. Jobs that the route cannot
    carry wait until it is taken back, or are cancelled. New ones are refused.
    """

    def __init__(self, database: Database, *, on_change: Callable[[], None]) -> None:
        self._database = database
        self._on_change = on_change

    async def list(self) -> list[Model]:
        """Return the models of the catalog by name, each with its route."""
        rows = await self._database.fetch("newest_routes")
        routes = {row["model"]: _route_of(row) for row in as_dicts(rows)}
        return [
            Model(name, tuple(sorted(one.tasks)), list_routes(name), routes.get(name))
            for name, one in sorted(list_families().items())
        ]

    async def preview(self, model: str, via: str) -> RoutePreview:
        """Return how many queued jobs the route carries and how many would wait.

        Changes nothing. Raises `NotFound` for an unknown model, and `InvalidRequest` for a family
        that cannot send it.
        """
        _require_route(model, via)
        rows = as_dicts(await self._database.fetch("queued_shapes", model))
        return await asyncio.to_thread(_judge, model, via, rows)

    async def route(
        self,
        model: str,
        via: str,
        *,
        reason: str | None = None,
        actor: Actor | str | None = None,
    ) -> Model:
        """Send the jobs of the model by this family from now on, and return the model.

        With the name of the model itself, the route is taken back. If the route is in force
        already, nothing is changed. Raises `NotFound` for an unknown model, and `InvalidRequest`.
        """
        _require_route(model, via)
        if reason is not None and not 1 <= len(reason.strip()) <= MAX_REASON_LENGTH:
            wanted = f"must be text of 1 to {MAX_REASON_LENGTH} characters"
            raise InvalidRequest([Fault("reason", f"{reason!r:.80} {wanted}")])
        try:
            with name_locked_row("the table of routes"):
                row = await self._database.fetch_row(
                    "route_model", model, via, reason, actor_to_json(actor)
                )
        except DatabaseRefused as error:
            if error.sqlstate == ACCOUNT_MISSING:
                raise NotFound(error.message) from error
            raise
        self._on_change()
        route = None if row is None else _route_of(dict(row))
        tasks = tuple(sorted(get_family(model).tasks))
        return Model(model, tasks, list_routes(model), route)


def model_to_json(model: Model) -> dict[str, Any]:
    """Return the model as a JSON object."""
    route = model.route
    return {
        "model": model.name,
        "tasks": list(model.tasks),
        "via": model.via,
        "routes": list(model.routes),
        "since": None if route is None else timestamp_to_json(route.routed_at),
        "routed_by": None if route is None else route.routed_by,
        "reason": None if route is None else route.reason,
    }


def preview_to_json(preview: RoutePreview) -> dict[str, Any]:
    """Return the preview as a JSON object."""
    return {
        "carried": preview.carried,
        "waiting": preview.waiting,
        "waiting_by_field": dict(preview.waiting_by_field),
        "waiting_credits": credits_to_json(preview.waiting_credits),
    }


def model_not_found(model: str) -> NotFound:
    """Return the error for a name that is no model's."""
    known = ", ".join(sorted(list_families()))
    return NotFound(f"no model is named {model!r:.80}; there is: {known}")


def _require_route(model: str, via: str) -> None:
    if model not in list_families():
        raise model_not_found(model)
    allowed = (*list_routes(model), model)
    if via not in allowed:
        sentence = f"{via!r:.80} cannot send {model}; allowed: {', '.join(allowed)}"
        raise InvalidRequest([Fault("via", sentence)])


def _route_of(row: Mapping[str, Any]) -> ModelRoute:
    names = ("model", "via", "reason", "routed_by", "routed_at")
    return ModelRoute(**{name: row[name] for name in names})


def _judge(model: str, via: str, rows: Iterable[Mapping[str, Any]]) -> RoutePreview:
    """Return the preview from the queued jobs by the shape of their requests."""
    carried = waiting = 0
    fields: Counter[str] = Counter()
    credits = Decimal(0)
    for row in rows:
        try:
            request = get_family(model).validate(row["task"], row["shape"])
            if via != model:
                carry_request(request, via)
        except InvalidRequest as error:
            waiting += row["jobs"]
            credits += row["credits_held"]
            fields.update(dict.fromkeys({fault.field for fault in error.faults}, row["jobs"]))
        else:
            carried += row["jobs"]
    by_field = dict(sorted(fields.items()))
    return RoutePreview(model, via, carried, waiting, by_field, credits)
