"""What Kie's catalogue says is stored, told as alerts, and ends with what it told of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from producer.billing import Billing
from producer.monitoring.kie_models import PriceVerdict, compare_prices, read_kie_models
from shared.adapters.monitoring.alert_queries import read_system_state
from shared.adapters.postgres.database import Database
from shared.domain.alerts.alert import Alert
from shared.domain.alerts.alert_rules import find_alerts
from tests.fakes.fake_kie import FakeKie
from worker.kie.model_checks import QUERY_GAP_SECONDS, ModelChecks, list_used_models

NAME = "4o-image-api"
USED = {NAME: list_used_models()[NAME]}
LISTED = "/api/v1/models"
SCHEMA = f"/api/v1/models/{NAME}/schema"
RATE = f"/api/v1/models/{NAME}/success-rate"


def catalogue(
    *, price: str = "just 6 credits per image", percent: float = 99.0, **schema: Any
) -> dict[str, object]:
    """What Kie says of the model."""
    known = {**USED[NAME].kie_model.input_schema, **schema}
    content = {"application/json": {"schema": {"properties": {"input": known}}}}
    paths = {"/api/v1/jobs/createTask": {"post": {"requestBody": {"content": content}}}}
    points = [{"successRate": 99.0}] * 100 + [{"successRate": percent}] * 6
    return {
        LISTED: {"models": [{"model": NAME, "pricingDesc": price}, {"model": "other"}]},
        SCHEMA: {"model": NAME, "openapi": {"paths": paths}},
        RATE: {"model": NAME, "points": points},
    }


class Catalogue:
    """Kie's catalogue, and the checks of it with a clock that only sleeping moves."""

    def __init__(self, database: Database, **says: Any) -> None:
        self.database = database
        self.kie = FakeKie(catalogue=catalogue(**says))
        self.seconds = 0.0
        self.checks = self.new_checks()

    def new_checks(self, used: Mapping[str, Any] = USED) -> ModelChecks:
        """Return the checks of a worker that starts now."""
        return ModelChecks(
            self.database, self.kie, monotonic=lambda: self.seconds, sleep=self.sleep, models=used
        )

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    async def check(self, **says: Any) -> list[Alert]:
        """Let Kie say this, check at once in full, and return the alerts about it."""
        self.kie.catalogue = catalogue(**says)
        await self.age()
        await self.checks.check()
        return await self.alerts()

    async def alerts(self) -> list[Alert]:
        """Return the alerts about Kie's models."""
        found = find_alerts(await read_system_state(self.database), None)
        return [one for one in found if one.name.startswith(("kie_model", "kie_price"))]

    async def age(self) -> None:
        """Make the last full check a day old."""
        await self.database.pool.execute(
            "UPDATE kie_models SET checked_at = checked_at - interval '1 day'"
        )

    async def checked_at(self) -> datetime:
        """Return when Kie was last asked in full."""
        (model,) = await read_kie_models(self.database)
        return model.checked_at


async def test_a_model_as_we_know_it_is_stored_without_an_alert(database: Database) -> None:
    assert await Catalogue(database).check() == []
    (model,) = await read_kie_models(database)
    assert model.is_well
    assert (model.kie_model, model.family, model.tasks) == (
        *(NAME, NAME),
        ("text-to-image", "image-to-image"),
    )
    assert model.price_credits == (Decimal(6),)
    assert model.success_percent == 99


@pytest.mark.parametrize(
    ("says", "alert", "told"),
    [
        ({"properties": {"prompt": {}, "size": {}}}, "kie_model_changed", "files_url"),
        ({"required": ["size", "quality"]}, "kie_model_changed", "required: quality"),
        ({"price": "now 8 credits ($0.04)"}, "kie_price_moved", "6 for gpt-4o-image text-to-image"),
        ({"percent": 40.0}, "kie_model_unreliable", "40.0 %"),
    ],
)
async def test_a_change_is_told_until_kie_takes_it_back(
    database: Database, says: dict[str, Any], alert: str, told: str
) -> None:
    kie = Catalogue(database)
    (found,) = await kie.check(**says)
    assert (found.name, found.subject) == (alert, NAME)
    assert told in found.detail
    assert await kie.check() == []


async def test_a_model_that_is_gone_is_told(database: Database) -> None:
    kie = Catalogue(database)
    kie.kie.catalogue[LISTED] = {"models": [{"model": "other"}]}
    await kie.checks.check()
    (alert,) = await kie.alerts()
    assert alert.name == "kie_model_changed"
    assert "no longer lists 4o-image-api" in alert.detail


async def test_setting_the_price_ends_the_alert_of_a_price_that_moved(database: Database) -> None:
    kie = Catalogue(database)
    assert len(await kie.check(price="now 8 credits ($0.04)")) == 1
    async with database.transaction() as queries:
        await queries.connection.execute("SET LOCAL darkroom.confirm = 'yes'")
        await queries.connection.execute(
            "UPDATE pricing SET provider_credits = 8 WHERE quantity = 1"
        )
    assert await kie.alerts() == []


async def test_prices_are_compared_with_what_kie_names(database: Database) -> None:
    billing = Billing(database)
    before = compare_prices(await billing.prices(), await read_kie_models(database))
    assert {one.verdict for one in before} == {PriceVerdict.NOT_ASKED}
    await Catalogue(database).check(price="now 8 credits ($0.04)")
    after = compare_prices(await billing.prices(), await read_kie_models(database))
    verdicts = {(one.quantity, one.verdict) for one in after if one.model == "gpt-4o-image"}
    assert verdicts == {
        *((1, PriceVerdict.MOVED), (2, PriceVerdict.UNCONFIRMED), (4, PriceVerdict.UNCONFIRMED))
    }


async def test_kie_is_asked_in_full_once_a_day_and_once_an_hour_for_the_rate(
    database: Database,
) -> None:
    kie = Catalogue(database)
    await kie.checks.check()
    assert kie.kie.catalogue_calls == [LISTED, SCHEMA, RATE]
    await kie.checks.check()
    assert kie.kie.catalogue_calls[3:] == [RATE]
    await kie.age()
    await kie.new_checks().check()
    assert kie.kie.catalogue_calls[4:] == [LISTED, SCHEMA, RATE]
    assert kie.seconds >= 3 * QUERY_GAP_SECONDS


async def test_another_catalog_asks_again_at_once(database: Database) -> None:
    kie = Catalogue(database)
    await kie.checks.check()
    model = replace(USED[NAME].kie_model, input_schema={"properties": {"prompt": {}}})
    await kie.new_checks({NAME: replace(USED[NAME], kie_model=model)}).check()
    assert kie.kie.catalogue_calls[3:] == [LISTED, SCHEMA, RATE]


async def test_a_model_that_no_family_uses_any_more_is_forgotten(database: Database) -> None:
    kie = Catalogue(database)
    kie.kie.catalogue[LISTED] = {"models": [{"model": "other"}]}
    await kie.checks.check()
    await kie.new_checks({"other": replace(USED[NAME], family="other")}).check()
    assert [one.kie_model for one in await read_kie_models(database)] == ["other"]
    assert await kie.alerts() == []


@pytest.mark.parametrize("silent", [LISTED, SCHEMA, RATE])
async def test_what_kie_does_not_answer_is_no_change(database: Database, silent: str) -> None:
    kie = Catalogue(database)
    await kie.checks.check()
    before = await kie.checked_at()
    del kie.kie.catalogue[silent]
    await kie.age()
    await kie.checks.check()
    assert await kie.alerts() == []
    (model,) = await read_kie_models(database)
    assert model.success_percent == 99
    # The list was not told, so the check of that day is still due.
    assert (model.checked_at < before) == (silent == LISTED)
