"""A given database needs a given Redis: no command starts an embedded one for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from producer import Producer
from shared.errors import ConfigurationError
from shared.settings import Settings
from tests.acceptance.cli.cli_program import Darkroom
from tests.support.deployment import Deployment

PROMPT = ("--account", "acme", "--prompt", "a lighthouse")


@pytest.mark.parametrize(
    "command",
    [
        ("worker",),
        ("api",),
        ("up",),
        ("enqueue", *PROMPT),
        ("env",),
        ("queue",),
        ("jobs", "list"),
        ("webhooks", "list"),
    ],
    ids=" ".join,
)
async def test_a_given_database_needs_a_given_redis(
    darkroom: Darkroom, tmp_path: Path, command: tuple[str, ...]
) -> None:
    home = tmp_path / "no-home-yet"
    said = await darkroom.elsewhere(REDIS_URL=None, DARKROOM_HOME=str(home)).run(*command)
    assert said.code == 1
    assert said.out == ""
    assert said.err.count("REDIS_URL is not set, and DATABASE_URL is") == 1
    assert "Traceback" not in said.err
    assert not home.exists()


@pytest.mark.parametrize(
    "command",
    [
        ("migrate",),
        ("migrate", "--status"),
        ("accounts", "show", "acme"),
        ("accounts", "grant", "acme", "5", "--reason", "a gift"),
        ("accounts", "ledger", "acme"),
        ("prices", "list"),
        ("prices", "history"),
        ("keys", "list"),
    ],
    ids=" ".join,
)
async def test_work_that_needs_only_postgres_continues_without_redis(
    darkroom: Darkroom, tmp_path: Path, command: tuple[str, ...]
) -> None:
    home = tmp_path / "no-home-yet"
    said = await darkroom.elsewhere(REDIS_URL=None, DARKROOM_HOME=str(home)).run(*command)
    assert said.code == 0, said.err
    assert not home.exists()


async def test_the_doctor_reports_it_and_checks_the_rest(darkroom: Darkroom) -> None:
    said = await darkroom.elsewhere(REDIS_URL=None).run("doctor", "--json")
    found = {finding["name"]: finding for finding in said.objects}
    assert said.code == 1
    assert not found["redis is given"]["ok"]
    assert found["redis is given"]["fix"] == "set REDIS_URL"
    assert found["postgres"]["ok"]


async def test_the_python_client_refuses_it_too(deployment: Deployment, tmp_path: Path) -> None:
    assert deployment.settings.database_url is not None
    settings = Settings(
        database_url=SecretStr(deployment.settings.database_url.get_secret_value()),
        darkroom_home=tmp_path / "no-home-yet",
    )
    with pytest.raises(ConfigurationError, match="Set REDIS_URL"):
        async with Producer.connect(settings):
            pass
