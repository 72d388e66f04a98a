"""The choice of Kie at start: the real one, the simulator with a warning, or an error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest
import structlog
from pydantic import SecretStr

from shared.adapters.embedded import EmbeddedServers
from shared.adapters.kie.kie_connection import SIMULATOR_NAME, choose_kie
from shared.adapters.servers import Servers
from shared.errors import ConfigurationError
from shared.settings import Settings


class EmbeddedStandIn:
    """What `ensure_process` is asked for, and a simulator that answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []

    def ensure_process(self, name: str, argv: Sequence[str]) -> dict[str, str]:
        """Say where the simulator is."""
        self.asked.append((name, list(argv)))
        return {"base_url": "http://127.0.0.1:1", "api_key": "sim-key"}


STAND_IN = EmbeddedStandIn()
OVER_EMBEDDED = Servers(
    "postgresql://x", "redis://x", cast("EmbeddedServers", STAND_IN), has_given_database=False
)


@pytest.mark.parametrize("has_given_database", [True, False])
async def test_with_a_key_the_real_kie_is_used(has_given_database: bool) -> None:
    servers = replace(OVER_EMBEDDED, has_given_database=has_given_database)
    provider = await choose_kie(Settings(kie_api_key=SecretStr("real")), servers)
    assert provider.base_url == "https://api.kie.ai"
    assert [(one.name, one.key.get_secret_value()) for one in provider.keys] == [
        ("default", "real")
    ]


@pytest.mark.parametrize("has_embedded_redis", [True, False])
async def test_over_a_given_database_without_a_key_it_refuses(has_embedded_redis: bool) -> None:
    embedded = OVER_EMBEDDED.embedded if has_embedded_redis else None
    servers = replace(OVER_EMBEDDED, embedded=embedded, has_given_database=True)
    with pytest.raises(ConfigurationError, match=r"KIE_API_KEY is not set.*real accounts"):
        await choose_kie(Settings(), servers)


async def test_over_embedded_servers_without_a_key_it_is_simulated_and_says_so_loudly() -> None:
    with structlog.testing.capture_logs() as logs:
        provider = await choose_kie(Settings(), OVER_EMBEDDED)
    assert provider.base_url == "http://127.0.0.1:1"
    assert STAND_IN.asked[-1][0] == SIMULATOR_NAME
    assert [(log["log_level"], log["event"]) for log in logs] == [("warning", "KIE IS SIMULATED")]
