"""Each test has its own running system."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from arq.connections import ArqRedis

from tests.acceptance.cli.cli_program import Darkroom
from tests.acceptance.cli.conftest import darkroom
from tests.acceptance.faults.fault_setup import FaultSetup, open_fault_setup
from tests.support.deployment import Deployment

__all__ = ["darkroom", "setup"]


@pytest.fixture
async def setup(
    deployment: Deployment,
    darkroom: Darkroom,
    redis: ArqRedis,
) -> AsyncIterator[FaultSetup]:
    """A worker and an API behind relays, at rest."""
    async with open_fault_setup(deployment, darkroom, redis) as setup:
        yield setup
