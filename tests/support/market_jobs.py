"""Requests to the models of Kie's Market, with directives for the simulator, and their prices."""

from __future__ import annotations

from shared.adapters.postgres.database import Database
from shared.catalog import ImageRequest, get_family, list_families
from shared.catalog.market_family import MarketRequest


def market_examples() -> list[ImageRequest]:
    """Return the examples of all families of the Market."""
    return [
        family.validate(task, fields)
        for family in list_families().values()
        if family.kie_models
        for task, model in family.tasks.items()
        for fields in model.model_json_schema()["examples"]
    ]


def with_directives(request: ImageRequest, directives: str) -> ImageRequest:
    """Return the request with directives for the simulator in its prompt."""
    fields = request.model_dump(mode="json", exclude_none=True)
    fields["prompt"] = f"{fields.get('prompt', '')} [[sim: {directives}]]"
    return get_family(request.model).validate(request.task, fields)


async def price_market(database: Database) -> None:
    """Insert what Kie charges as the price of every example, where it has none."""
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL darkroom.confirm = 'yes'")
        for request in market_examples():
            assert isinstance(request, MarketRequest)
            models = {one.name: one for one in get_family(request.model).kie_models}
            await connection.execute(
                "INSERT INTO pricing (model, task, quantity, variant, credits, provider_credits)"
                " VALUES ($1, $2, 1, $3, $4, $4) ON CONFLICT DO NOTHING",
                *(request.model, request.task, request.price_variant),
                models[request.kie_model].credits_for(request.kie_input()),
            )
