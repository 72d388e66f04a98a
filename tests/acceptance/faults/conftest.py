"""A running system to play faults on; each test has its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from arq.connections import ArqRedis

from tests.acceptance.cli.cli_program import Darkroom
from tests.acceptance.cli.conftest import darkroom
from tests.acceptance.faults.fault_setup import Stage, set_stage
from tests.support.deployment import Workshop

__all__ = ["darkroom", "stage"]


@pytest.fixture
async def stage(
    workshop: Workshop,
    darkroom: Darkroom,
    redis: ArqRedis,
) -> AsyncIterator[Stage]:
    """A worker and an API behind relays, at rest."""
    async with set_stage(workshop, darkroom, redis) as stage:
        yield stage
