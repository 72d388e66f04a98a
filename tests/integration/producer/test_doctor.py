"""The doctor checks everything, and each bad finding has its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from producer import Producer
from producer.doctor import Finding, examine
from shared.adapters.postgres.database import Database
from shared.adapters.servers import Servers
from shared.settings import Settings
from tests.integration.producer.client_setup import open_account
from tests.support.deployment import text_to_image


def settings_of(servers: Servers, **changes: str) -> Settings:
    return Settings.model_validate(
        {
            "database_url": servers.database_url,
            "redis_url": servers.redis_url,
            "kie_api_key": "a-key",
            **changes,
        }
    )


async def findings(settings: Settings) -> dict[str, Finding]:
    return {one.name: one async for one in examine(settings)}


async def test_a_healthy_darkroom_has_a_finding_for_each_invariant_and_dependency(
    servers: Servers,
) -> None:
    found = await findings(settings_of(servers))
    assert set(found) >= {
        *("servers", "redis", "redis keeps its keys", "redis survives a restart", "postgres"),
        *("schema", "balances equal the ledger", "held equals the open holds"),
        *("every job has one hold and one end", "no job has two live attempts"),
        *(
            "every capture cites its price",
            "every refund has its charge",
            "states and attempts agree",
        ),
        *("prices and versions agree", "no job is stuck", "kie"),
    }
    wrong = {name for name, one in found.items() if not one.ok}
    assert wrong <= {"redis keeps its keys"}  # the settings of the server
    assert all(one.fix for one in found.values() if not one.ok)
    assert "a-key" not in str(found)


async def test_the_proxy_on_the_way_to_kie_is_named_without_its_password(
    servers: Servers,
) -> None:
    proxied = settings_of(
        servers, all_proxy="http://ann:hush@proxy.example:3128", kie_base_url="https://kie.example"
    )
    told = (await findings(proxied))["kie"].detail
    way = "https://kie.example through the proxy http://proxy.example:3128 of ALL_PROXY"
    assert told == f"a key is set, for {way}"
    direct = proxied.model_copy(update={"no_proxy": ".example"})
    assert (await findings(direct))["kie"].detail == "a key is set, for https://kie.example"


async def test_prices_that_no_request_can_have_are_named(
    servers: Servers, database: Database
) -> None:
    async with database.transaction() as queries:
        await queries.connection.execute("SET LOCAL darkroom.confirm = 'yes'")
        await queries.connection.execute("DELETE FROM pricing WHERE quantity = 4")
        await queries.connection.execute(
            "INSERT INTO pricing (model, task, quantity, variant, credits, provider_credits)"
            " SELECT model, task, 1, variant, 6, 6 FROM (VALUES"
            " ('gpt-image-2', 'text-to-image', '2k'), ('gpt-image-1.5', 'text-to-image', ''),"
            " ('painter', 'paint', '')) AS typo (model, task, variant)"
        )
    finding = (await findings(settings_of(servers)))["prices fit the catalog"]
    unneeded, _, unsold = finding.detail.partition("; refused, because pricing has no row: ")
    assert not finding.ok
    assert unneeded.endswith(
        ": gpt-image-1.5 text-to-image 1, gpt-image-2 text-to-image 1 2k, painter paint 1"
    )
    assert "gpt-4o-image image-to-image 4, gpt-4o-image text-to-image 4" in unsold
    await database.pool.execute(
        "SET LOCAL darkroom.confirm = 'yes'; DELETE FROM pricing WHERE model <> 'gpt-4o-image'"
    )
    assert (await findings(settings_of(servers)))["prices fit the catalog"].ok


async def test_broken_books_are_named_with_advice(
    producer: Producer, servers: Servers, database: Database
) -> None:
    await open_account(producer)
    await database.pool.execute("UPDATE accounts SET balance = 7")
    finding = (await findings(settings_of(servers)))["balances equal the ledger"]
    assert not finding.ok
    assert "acme: balance 7 and held 0, but the ledger says 1000 and 0" in finding.detail
    assert "do not change it by hand" in (finding.fix or "")


async def test_a_job_that_nobody_moves_is_named(
    producer: Producer, servers: Servers, database: Database
) -> None:
    await open_account(producer)
    job = await producer.enqueue(text_to_image(), account_id="acme")

    async def finding() -> Finding:
        return (await findings(settings_of(servers)))["no job is stuck"]

    await database.pool.execute(
        "UPDATE jobs SET state = 'submitting', attempt = 1, attempted_at = now()"
    )
    assert (await finding()).ok
    await database.pool.execute("UPDATE jobs SET updated_at = now() - interval '2 h'")
    stuck = await finding()
    assert not stuck.ok
    assert f"{job.id}: submitting since" in stuck.detail
    assert "darkroom worker" in (stuck.fix or "")


async def test_an_old_schema_is_reported_and_the_books_are_left_alone(
    servers: Servers, database: Database
) -> None:
    await database.pool.execute("DELETE FROM darkroom_migrations WHERE number > 1")
    found = await findings(settings_of(servers))
    assert (found["schema"].ok, found["schema"].fix) == (False, "run `darkroom migrate`")
    assert "balances equal the ledger" not in found


@pytest.mark.parametrize(
    ("name", "url", "missing"),
    [("redis", "unix://{}/nobody.sock", "redis_url"), ("postgres", "postgresql:///x?host={}", "")],
)
async def test_a_dependency_that_is_down_is_reported_and_the_rest_is_checked(
    servers: Servers, tmp_path: Path, name: str, url: str, missing: str
) -> None:
    setting = missing or "database_url"
    found = await findings(settings_of(servers, **{setting: url.format(tmp_path)}))
    assert not found[name].ok
    assert "does not answer" in found[name].detail
    assert found[name].fix
    assert {"redis", "postgres", "kie"} <= set(found)


async def test_a_missing_key_over_a_given_database_is_reported(servers: Servers) -> None:
    settings = settings_of(servers).model_copy(update={"kie_api_key": None})
    finding = (await findings(settings))["kie"]
    assert (finding.ok, finding.fix) == (False, "set KIE_API_KEY")
