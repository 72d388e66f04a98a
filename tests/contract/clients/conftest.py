"""The systems, and a client of each."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest
from darkroom_client import AsyncDarkroom

from tests.contract.clients.systems import System, memory_system, real_system
from tests.support.deployment import Deployment

collect_ignore = [] if shutil.which("node") else ["test_node_client.py"]


@pytest.fixture(params=["real", "in memory"])
def deployment_of_system(request: pytest.FixtureRequest) -> Deployment | None:
    """The servers of the real system; none are started for the one in memory."""
    if request.param == "real":
        deployment: Deployment = request.getfixturevalue("deployment")
        return deployment
    return None


@pytest.fixture
async def system(deployment_of_system: Deployment | None) -> AsyncIterator[System]:
    """Each system in turn."""
    if deployment_of_system is None:
        with memory_system() as memory:
            yield memory
        return
    async with real_system(deployment_of_system) as real:
        yield real


@pytest.fixture
async def darkroom(system: System) -> AsyncIterator[AsyncDarkroom]:
    """A client with a service key of `acme`."""
    async with AsyncDarkroom(system.url, await system.key(), account_id="acme") as client:
        yield client
