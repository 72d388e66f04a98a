"""The checks of Kie's models against the catalogue API of the simulator, over HTTP."""

from __future__ import annotations

import asyncio

from pydantic import SecretStr

from producer.monitoring.kie_models import KieModelHealth, read_kie_models
from shared.adapters.postgres.database import Database
from worker.kie.kie_client import KieClient
from worker.kie.model_checks import ModelChecks, list_used_models
from worker.simulator import SimulatorConfig, running_simulator

NAME = "gpt-image-2-text-to-image"


async def test_each_change_of_the_simulated_catalogue_is_found(database: Database) -> None:
    async with (
        running_simulator(SimulatorConfig()) as simulator,
        KieClient(
            base_url=simulator.base_url, api_key=SecretStr(simulator.api_key), timeout_seconds=10
        ) as kie,
    ):
        # The simulator refuses more than one query a second, as Kie does.
        checks = ModelChecks(
            *(database, kie),
            monotonic=asyncio.get_running_loop().time,
            sleep=asyncio.sleep,
            models={NAME: list_used_models()[NAME]},
        )

        async def check() -> KieModelHealth:
            await database.pool.execute("DELETE FROM kie_models")
            await checks.check()
            (model,) = await read_kie_models(database)
            return model

        well = await check()
        simulator.set_faults(gone_field="resolution", price_factor=2, success_rate=0.4)
        changed = await check()
        simulator.set_faults(gone_field="", schema_unpublished=True)
        unpublished = await check()
    assert well.is_well
    assert [int(one) for one in well.price_credits] == [6, 10, 16]
    assert well.success_percent is not None
    assert well.success_percent > 90
    assert changed.missing_parts == ("resolution",)
    assert [int(one) for one in changed.price_credits] == [12, 20, 32]
    assert changed.success_percent is not None
    assert changed.success_percent < 50
    assert unpublished.is_well
