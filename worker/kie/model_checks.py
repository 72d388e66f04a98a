"""Asks Kie's catalogue what it says of the models that our families use, and stores it.

Once a day, and at the start of a version with another catalog, each model's schema and price are
compared. Its success rate is asked once an hour. Nothing is ever changed by what Kie says: alerts
and `darkroom prices compare` tell people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from shared.adapters.monitoring.incident_log import incidents
from shared.adapters.postgres.database import Queries
from shared.catalog import KieRequest, KieResponse, list_families
from shared.catalog.model_family import KieModel
from worker.dependencies import Sleep
from worker.kie.catalogue_responses import (
    MODELS,
    find_missing_parts,
    read_credits,
    read_input_schema,
    read_price_texts,
    read_success_rate,
    schema_request,
    success_rate_request,
)
from worker.kie.kie_client import KieApi

CHECK_SECONDS = 3600.0
FULL_CHECK_SECONDS = 24 * 3600.0 - CHECK_SECONDS / 2
QUERY_GAP_SECONDS = 1.1
"""Kie allows one query of its catalogue a second for an account."""


@dataclass(frozen=True, slots=True)
class UsedModel:
    """A model of Kie that a family uses."""

    family: str
    kie_model: KieModel
    sold_as: tuple[str, ...]
    """The models of `pricing` whose images it makes."""

    @property
    def tasks(self) -> list[str]:
        """The tasks of the family that use it."""
        return [one.lower().replace(" ", "-") for one in self.kie_model.task_types]


def list_used_models() -> Mapping[str, UsedModel]:
    """Return every model of Kie that a family of the catalog uses, by Kie's name."""
    return {
        one.name: UsedModel(family.name, one, (family.name, *sorted(family.carries)))
        for family in list_families().values()
        for one in family.kie_models
    }


def catalog_fingerprint(models: Mapping[str, UsedModel]) -> str:
    """Return a text that changes when the catalog's knowledge of Kie's models does."""
    known = {name: [one.family, one.kie_model.input_schema] for name, one in models.items()}
    return hashlib.sha256(orjson.dumps(known, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


class ModelChecks:
    """Checks Kie's models with one Kie account."""

    def __init__(
        self,
        queries: Queries,
        kie: KieApi,
        *,
        monotonic: Callable[[], float],
        sleep: Sleep,
        models: Mapping[str, UsedModel] | None = None,
    ) -> None:
        """`models` are by default those of the catalog."""
        self._queries = queries
        self._kie = kie
        self._monotonic = monotonic
        self._sleep = sleep
        self._models = list_used_models() if models is None else models
        self._fingerprint = catalog_fingerprint(self._models)
        self._asked_at = float("-inf")

    async def check(self) -> None:
        """Check what is due. Raises `PostgresDown`.

        What Kie does not answer stays as it was, and is asked again at the next call.
        """
        names = sorted(self._models)
        rows = await self._queries.fetch(
            "kie_models_to_check", names, FULL_CHECK_SECONDS, self._fingerprint
        )
        if rows:
            await self._check_fully([row["kie_model"] for row in rows])
        for name in names:
            response = await self._ask(success_rate_request(name))
            rate = None if response is None else read_success_rate(response)
            if rate is not None:
                await self._queries.fetch(
                    "record_kie_success_rate", name, rate.last_hour_percent, rate.usual_percent
                )

    async def _check_fully(self, names: Sequence[str]) -> None:
        response = await self._ask(MODELS)
        price_texts = None if response is None else read_price_texts(response)
        if price_texts is None:
            incidents.record_failure(
                "kie_catalogue_unread",
                "",
                "Kie's catalogue did not list its models; the next check asks again",
                calm_seconds=2 * CHECK_SECONDS,
            )
            return
        incidents.record_success("kie_catalogue_unread", "")
        columns = list(zip(*[await self._compare(one, price_texts) for one in names], strict=True))
        await self._queries.fetch(
            "record_kie_models", *map(list, columns), self._fingerprint, sorted(self._models)
        )

    async def _compare(
        self, name: str, price_texts: Mapping[str, str | None]
    ) -> tuple[str, str, str, str, bool, str, str | None, str]:
        """Return the row of `kie_models` for what Kie says now."""
        used = self._models[name]
        is_listed, price_text = name in price_texts, price_texts.get(name)
        missing: list[str] = []
        if is_listed:
            response = await self._ask(schema_request(name))
            schema = None if response is None else read_input_schema(response)
            if schema is not None:
                missing = find_missing_parts(used.kie_model.input_schema, schema)
        credits = [f"{one:f}" for one in read_credits(price_text)]
        return (
            *(name, used.family, _json(used.sold_as), _json(used.tasks), is_listed),
            *(_json(missing), price_text, _json(credits)),
        )

    async def _ask(self, request: KieRequest) -> KieResponse | None:
        wait_seconds = self._asked_at + QUERY_GAP_SECONDS - self._monotonic()
        if wait_seconds > 0:
            await self._sleep(wait_seconds)
        response = await self._kie.query_catalogue(request)
        self._asked_at = self._monotonic()
        return response


def _json(values: Sequence[str]) -> str:
    return orjson.dumps(values).decode()
