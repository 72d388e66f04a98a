"""How often logins to the console may fail, counted by all processes together."""

from __future__ import annotations

from producer.console.sessions.login_attempts import (
    FAILURES_MAX,
    FAILURES_OF_NETWORK_MAX,
    LoginAttempts,
)
from producer.keys.key_format import make_key
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from shared.errors import KeyRefused
from tests.support.console_client import browsing
from tests.support.deployment import Deployment


async def fail(deployment: Deployment, network: str, key: str = "x") -> None:
    await LoginAttempts(deployment.database).record_failure(
        KeyRefused("unknown"), key, network=network, address=network, user_agent="a browser"
    )


async def wait_of(deployment: Deployment, network: str) -> int | None:
    return await LoginAttempts(deployment.database).seconds_until_allowed(network)


async def pass_by(deployment: Deployment, seconds: float) -> None:
    await deployment.run_sql(
        "UPDATE login_failures SET at = at - make_interval(secs => $1)", float(seconds)
    )


async def test_a_network_may_fail_ten_times_a_minute(deployment: Deployment) -> None:
    for number in range(FAILURES_OF_NETWORK_MAX):
        assert await wait_of(deployment, "10.0.0.1") is None
        await pass_by(deployment, 1 if number else 0)
        await fail(deployment, "10.0.0.1")
    wait = await wait_of(deployment, "10.0.0.1")
    assert wait is not None
    assert 45 <= wait <= 51
    assert await wait_of(deployment, "10.0.0.2") is None
    await pass_by(deployment, wait)
    assert await wait_of(deployment, "10.0.0.1") is None


async def test_all_networks_together_may_fail_a_hundred_times(deployment: Deployment) -> None:
    for number in range(FAILURES_MAX):
        await fail(deployment, f"10.0.1.{number}")
    assert await wait_of(deployment, "10.0.0.2") is not None
    await pass_by(deployment, 60)
    assert await wait_of(deployment, "10.0.0.2") is None


async def test_two_apis_count_together_and_the_first_failure_of_an_hour_is_audited(
    deployment: Deployment,
) -> None:
    keys = KeyStore(deployment.database)
    await keys.create(Role.ADMIN)
    prefix, unknown = make_key()
    async with (
        deployment.api() as first,
        deployment.api() as second,
        browsing(first) as one,
        browsing(second) as other,
    ):
        for browser in [one, other] * (FAILURES_OF_NETWORK_MAX // 2):
            (await browser.log_in(unknown)).expect(401)
        for browser in (one, other):
            (await browser.log_in(unknown)).expect(429)
    rows = await deployment.run_sql("SELECT * FROM login_failures")
    assert len(rows) == FAILURES_OF_NETWORK_MAX
    assert {(row["refusal"], row["key_prefix"]) for row in rows} == {("unknown", prefix)}
    assert unknown not in str(rows)
    (entry,) = await deployment.producer.billing.audit(act="login_failed", limit=10)
    assert (entry["actor"], entry["via"], entry["origin"]) == (
        *("console:127.0.0.1", "console"),
        "127.0.0.1",
    )
    assert (entry["after"]["key"], entry["after"]["refusal"]) == (prefix, "unknown")
    await pass_by(deployment, 3600)
    await fail(deployment, "127.0.0.1")
    assert len(await deployment.producer.billing.audit(act="login_failed", limit=10)) == 2


async def test_failures_are_kept_for_30_days(deployment: Deployment) -> None:
    await fail(deployment, "10.0.0.1")
    await pass_by(deployment, 30 * 86_400 + 1)
    await fail(deployment, "10.0.0.2")
    rows = await deployment.run_sql("SELECT network FROM login_failures")
    assert [row["network"] for row in rows] == ["10.0.0.2"]
