"""Models and their routes for callers and operators: previews, changes, and refused orders."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from producer import InvalidRequest, NotFound, Order, PostgresDown, Producer
from producer.bulk.job_selection import JobSelection
from producer.orders.route_check import MAX_AGE_SECONDS, RouteCheck
from shared.adapters.postgres.database import Database
from shared.catalog import list_families, list_routes
from shared.domain.lifecycle import JobState
from tests.fakes.fake_clock import FakeClock
from tests.integration.database.database_setup import DatabaseSetup
from tests.integration.producer.client_setup import open_account
from tests.support.deployment import image_to_image, text_to_image

MODEL, ROUTE = "gpt-4o-image", "4o-image-api"


@pytest.fixture
async def acme(producer: Producer) -> Producer:
    await open_account(producer, "acme")
    return producer


async def test_the_list_in_postgres_has_the_routes_of_the_catalog(database: Database) -> None:
    for model in list_families():
        rows = await database.pool.fetch("SELECT darkroom_families_of_model($1) AS found", model)
        assert tuple(rows[0]["found"]) == list_routes(model), model


async def test_each_model_says_by_which_family_it_is_sent_since_when_and_by_whom(
    acme: Producer,
) -> None:
    before = {one.name: one for one in await acme.models.list()}
    assert set(before) == set(list_families())
    assert (before[MODEL].via, before[MODEL].routes, before[MODEL].route) == (MODEL, (ROUTE,), None)
    changed = await acme.models.route(MODEL, ROUTE, reason="it is gone", actor="maria")
    after = {one.name: one for one in await acme.models.list()}
    assert after[MODEL] == changed
    assert changed.route is not None
    assert (changed.via, changed.route.reason, changed.route.routed_by) == (
        ROUTE,
        "it is gone",
        "maria",
    )
    assert await acme.models.route(MODEL, ROUTE, reason="again") == changed
    back = await acme.models.route(MODEL, MODEL)
    assert (back.via, back.route is not None and back.route.reason) == (MODEL, None)


@pytest.mark.parametrize(
    ("model", "via", "reason", "error", "words"),
    [
        ("gpt-5o", ROUTE, None, NotFound, MODEL),
        (MODEL, "flux1-kontext", None, InvalidRequest, f"allowed: {ROUTE}, {MODEL}"),
        (ROUTE, MODEL, None, InvalidRequest, f"allowed: {ROUTE}"),
        (MODEL, ROUTE, " ", InvalidRequest, "reason"),
        (MODEL, ROUTE, "x" * 501, InvalidRequest, "reason"),
    ],
)
async def test_a_route_that_cannot_be_is_refused_with_what_is_allowed(
    acme: Producer, model: str, via: str, reason: str | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        await acme.models.route(model, via, reason=reason)
    if reason is None:
        with pytest.raises(error, match=words):
            await acme.models.preview(model, via)


async def test_a_preview_counts_what_goes_and_what_waits_by_field_and_changes_nothing(
    acme: Producer, database: Database
) -> None:
    setup = DatabaseSetup(database)
    for request in (
        text_to_image(),
        text_to_image(prompt="another"),
        image_to_image(),
        text_to_image(quantity=2),
        text_to_image(quantity=2, prompt="another", enhance_prompt=True),
        image_to_image(mask_url="https://example.com/mask.png"),
    ):
        await acme.enqueue(request, account_id="acme")
    await setup.job_in(JobState.GENERATING)
    before = await setup.snapshot()
    preview = await acme.models.preview(MODEL, ROUTE)
    assert (preview.carried, preview.waiting) == (3, 3)
    assert preview.waiting_by_field == {"enhance_prompt": 1, "mask_url": 1, "quantity": 2}
    held = await setup.value(
        "SELECT sum(credits_quoted) FROM jobs WHERE state = 'queued'"
        " AND (quantity = 2 OR request ->> 'mask_url' IS NOT NULL)"
    )
    assert preview.waiting_credits == held > Decimal(0)
    assert (await acme.models.preview(MODEL, MODEL)).carried == 6
    assert await setup.snapshot() == before


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"quantity": 2}, "quantity"),
        ({"quantity": 4}, "quantity"),
        ({"enhance_prompt": True}, "enhance_prompt"),
        ({"fallback_model": "FLUX_MAX"}, "fallback_model"),
        ({"upload_cn": True}, "upload_cn"),
    ],
)
@pytest.mark.promise("Orders that the route in force cannot carry")
async def test_an_order_that_the_route_cannot_carry_is_refused_by_its_field_and_nothing_is_held(
    acme: Producer, options: dict[str, Any], field: str
) -> None:
    await acme.models.route(MODEL, ROUTE)
    with pytest.raises(InvalidRequest, match=ROUTE) as caught:
        await acme.enqueue(text_to_image(**options), account_id="acme")
    assert [fault.field for fault in caught.value.faults] == [field]
    assert (await acme.balance("acme")).held == 0
    assert (await acme.enqueue(text_to_image(), account_id="acme")).model == MODEL


async def test_a_batch_names_each_order_that_cannot_go_and_stores_none(acme: Producer) -> None:
    await acme.models.route(MODEL, ROUTE)
    orders = [
        Order(request=text_to_image(), account_id="acme"),
        Order(request=text_to_image(quantity=2), account_id="acme"),
        Order(request=image_to_image(mask_url="https://example.com/mask.png"), account_id="acme"),
    ]
    with pytest.raises(InvalidRequest) as caught:
        await acme.enqueue_many(orders)
    assert [one.field for one in caught.value.faults] == ["jobs.1.quantity", "jobs.2.mask_url"]
    assert await acme.list() == []


async def test_an_order_that_was_placed_before_the_route_changed_gets_its_first_job(
    acme: Producer,
) -> None:
    order = Order(
        request=text_to_image(quantity=2), account_id="acme", idempotency_key="order-1042"
    )
    (first,) = await acme.enqueue_many([order])
    await acme.models.route(MODEL, ROUTE)
    (again,) = await acme.enqueue_many([order])
    assert again.id == first.id


async def test_a_retry_that_the_route_cannot_carry_is_refused_by_itself(
    acme: Producer, database: Database
) -> None:
    setup = DatabaseSetup(database)
    plain = await setup.job_in(JobState.FAILED)
    double = await setup.job_in(JobState.FAILED, request=text_to_image(quantity=2))
    done = await setup.job_in(JobState.FAILED, request=text_to_image(quantity=4))
    retry = await acme.retry(done.id)
    await acme.models.route(MODEL, ROUTE)
    with pytest.raises(InvalidRequest, match="quantity"):
        await acme.retry(double.id)
    selection = JobSelection(ids=(plain.id, double.id, done.id))
    result = await acme.retry_many(selection)
    assert {one.id for one in result.done} == {plain.id, done.id}
    assert {one.job.id for one in result.done if not one.is_new} == {retry.id}
    assert [one.id for one in result.refused] == [double.id]


async def test_the_routes_are_read_once_in_five_seconds_and_not_for_what_every_route_carries(
    acme: Producer, database: Database
) -> None:
    clock, counting = FakeClock(), CountingQueries(database)
    check = RouteCheck(counting, monotonic=clock.monotonic)
    double = [Order(request=text_to_image(quantity=2), account_id="acme")]
    assert await check.find_refusals(double) == {}
    assert await check.find_refusals(double * 20) == {}
    assert counting.reads == 1
    await acme.models.route(MODEL, ROUTE)
    assert await check.find_refusals(double) == {}, "the age of what was read is short"
    clock.advance(MAX_AGE_SECONDS)
    assert list(await check.find_refusals(double)) == [0]
    assert counting.reads == 2
    plain = [Order(request=text_to_image(), account_id="acme")]
    clock.advance(MAX_AGE_SECONDS)
    counting.is_down = True
    assert await check.find_refusals(plain) == {}, "it waits for no read"


class CountingQueries:
    """Named queries that count the reads of routes, and fail if told so."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reads = 0
        self.is_down = False

    async def fetch(self, name: str, *args: object) -> Any:
        if self.is_down:
            raise PostgresDown("told to be down")
        self.reads += 1
        return await self._database.fetch(name, *args)

    async def fetch_row(self, name: str, *args: object) -> Any:
        return await self._database.fetch_row(name, *args)
