"""Gives the tests of a service a Darkroom in memory: the fixtures `darkroom` and `darkroom_kie`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from darkroom_client.testing import InMemoryDarkroom, ScriptedKie


@pytest.fixture
def darkroom_kie() -> ScriptedKie:
    """What becomes of the jobs of this test: each succeeds at once, until the test says else."""
    return ScriptedKie()


@pytest.fixture
def darkroom(
    darkroom_kie: ScriptedKie, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InMemoryDarkroom]:
    """A new Darkroom with an account of 1,000 credits.

    `DARKROOM_URL` and `DARKROOM_API_KEY` name it while the test runs, so `Darkroom()` of the
    service calls it.
    """
    with InMemoryDarkroom(kie=darkroom_kie) as running:
        monkeypatch.setenv("DARKROOM_URL", running.url)
        monkeypatch.setenv("DARKROOM_API_KEY", running.key)
        yield running
