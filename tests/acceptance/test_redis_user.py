"""Everything runs as the Redis user of docs/deployment.md, who may do nothing else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from producer import JobState, Producer
from producer.doctor.examination import examine
from producer.doctor.redis_findings import check_redis
from shared.adapters.embedded import acquire_servers
from shared.adapters.monitoring.alert_queries import read_redis_state
from shared.adapters.redis.deliveries import DeliveryQueue, connect_redis
from shared.adapters.redis.key_prefix import COMMANDS
from shared.adapters.redis.subscription import subscribed
from shared.adapters.servers import Servers
from shared.errors import RedisDown
from shared.redis_keys import CHANGES_CHANNEL
from tests.support.deployment import Deployment, text_to_image
from tests.support.redis_rules import documented_rules

ROOT = Path(__file__).parents[2]
HARMLESS = b"client|setinfo"


def commands_in_scripts() -> set[str]:
    """Return every command that a script calls."""
    files = [file for name in ("shared", "worker") for file in (ROOT / name / "lua").glob("*.lua")]
    return {name for file in files for name in re.findall(r"call\('(\w+)'", file.read_text())}


@pytest.fixture(scope="module")
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Valkey for this file."""
    home: Path = tmp_path_factory.mktemp("user")
    with acquire_servers(home, postgres=False, linger_seconds=0, fsync=False) as servers:
        assert servers.redis_url is not None
        yield servers.redis_url


@asynccontextmanager
async def redis_user(url: str, rules: list[str]) -> AsyncIterator[tuple[str, Any]]:
    """Make the user in the block. Yields its URL, and a connection of an administrator."""
    async with connect_redis(url) as redis:
        operator: Any = redis
        words: list[Any] = ["ACL", "SETUSER", "darkroom", "reset", *rules]
        await operator.execute_command(*words)
        await operator.execute_command("ACL", "LOG", "RESET")
        yield f"{url}?username=darkroom&password=PASSWORD", operator
        await operator.execute_command("ACL", "DELUSER", "darkroom")


async def denials(operator: Any) -> set[bytes]:
    """Return the commands, keys and channels that were denied."""
    entries = await operator.execute_command("ACL", "LOG")
    return {dict(zip(one[::2], one[1::2], strict=True))[b"object"] for one in entries}


def test_the_rules_allow_what_is_sent_and_nothing_else() -> None:
    allowed = {rule[1:].partition("|")[0].upper() for rule in documented_rules() if rule[0] == "+"}
    assert allowed == COMMANDS | commands_in_scripts()


async def test_worker_api_doctor_and_waits_run_as_the_documented_user(
    deployment: Deployment, servers: Servers, own_valkey: str
) -> None:
    async with redis_user(own_valkey, documented_rules()) as (url, operator):
        changes = {"redis_url": SecretStr(url)}
        settings = deployment.settings.model_copy(update=changes)
        async with (
            deployment.worker_with_callbacks(**changes) as resources,
            deployment.api(**changes) as api,
            Producer.connect_to(replace(servers, redis_url=url)) as producer,
        ):
            await producer.billing.create_account("shop")
            await producer.billing.grant("shop", Decimal(1_000), "for the test")
            jobs = [
                await producer.enqueue(text_to_image(f"picture {n}"), account_id="shop")
                for n in range(3)
            ]
            ended = [await producer.wait(job.id, timeout_seconds=20) for job in jobs]
            assert {job.state for job in ended} == {JobState.SUCCEEDED}
            assert (await api.get("/readyz")).status == 200
            (account,) = resources.deps.accounts
            await account.brake.apply("busy", "429")
            findings = {finding.name: finding async for finding in examine(settings)}
            assert findings["redis"].ok
            assert "error" not in str(findings["redis keeps its keys"].detail)
        assert await denials(operator) <= {HARMLESS}


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("+evalsha", "evalsha"),
        ("+publish", "ACL failure in script|publish"),
        ("~arq:*", "key"),
        ("&darkroom:*", "channel"),
    ],
)
async def test_a_missing_right_is_named_with_the_place_of_the_rules(
    own_valkey: str, without: str, words: str
) -> None:
    rules = [rule for rule in documented_rules() if rule != without]
    async with redis_user(own_valkey, rules) as (url, _), connect_redis(url) as redis:
        with pytest.raises(RedisDown, match=words) as caught:
            await DeliveryQueue(redis).ping()
        assert "docs/deployment.md, The Redis user" in str(caught.value)


async def test_a_subscription_that_is_forbidden_is_never_taken_for_open(own_valkey: str) -> None:
    rules = [rule for rule in documented_rules() if rule != "&darkroom:*"]
    async with redis_user(own_valkey, rules) as (url, _), connect_redis(url) as redis:
        with pytest.raises(RedisDown, match="NOPERM"):
            async with subscribed(redis, CHANGES_CHANNEL):
                raise AssertionError("it is open")


async def test_without_the_right_to_info_all_else_is_known(own_valkey: str) -> None:
    rules = [rule for rule in documented_rules() if rule != "+info"]
    async with redis_user(own_valkey, rules) as (url, _):
        findings = {finding.name: finding async for finding in check_redis(url)}
        assert all(finding.ok for finding in findings.values())
        assert "cannot be known: Redis" in findings["redis keeps its keys"].detail
        async with connect_redis(url, checks_server=True) as redis:
            state = await read_redis_state(redis, ["kie"])
        assert (state.policy, state.is_replica) == ("noeviction", False)


@pytest.mark.parametrize(
    ("policy", "limit", "is_told"),
    [
        ("volatile-lru", "1gb", True),
        ("allkeys-random", "1gb", True),
        ("noeviction", "1gb", False),
        ("allkeys-lru", "0", False),
    ],
)
async def test_a_redis_that_evicts_is_told_at_start_and_by_the_doctor(
    own_valkey: str, policy: str, limit: str, is_told: bool
) -> None:
    async with connect_redis(own_valkey) as operator:
        await operator.config_set("maxmemory-policy", policy)
        await operator.config_set("maxmemory", limit)
        try:
            with capture_logs() as logs:
                async with connect_redis(own_valkey, checks_server=True):
                    pass
            findings = {finding.name: finding async for finding in check_redis(own_valkey)}
        finally:
            await operator.config_set("maxmemory-policy", "noeviction")
            await operator.config_set("maxmemory", "0")
    told = [one for one in logs if one["event"] == "redis_evicts_keys"]
    assert [one["policy"] for one in told] == [policy] * is_told
    finding = findings["redis keeps its keys"]
    assert finding.ok is not is_told
    assert policy in finding.detail
