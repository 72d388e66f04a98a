"""A worker that reaches Kie through a proxy alone."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from producer import JobState
from tests.fakes.fake_proxy import FakeProxy, proxying
from tests.support.deployment import Deployment


@pytest.mark.parametrize("setting", ["http_proxy", "all_proxy"])
async def test_a_job_is_submitted_and_polled_through_the_proxy(
    deployment: Deployment, setting: str
) -> None:
    kie = urlsplit(deployment.simulator.base_url)
    async with proxying(FakeProxy(user="ann", password="hush")) as proxy:
        # Only the proxy knows where this Kie is.
        proxy.route = lambda _: (str(kie.hostname), kie.port or 80)
        async with deployment.worker(
            kie_base_url="http://kie.example", **{setting: SecretStr(proxy.url)}
        ):
            ended = await deployment.ended(await deployment.enqueue())
    assert ended.state is JobState.SUCCEEDED
    asked = {line.partition("?")[0] for line in proxy.asked}
    assert any(line.startswith("POST http://kie.example/api/v1/") for line in asked)
    await deployment.check_invariants_hold()
