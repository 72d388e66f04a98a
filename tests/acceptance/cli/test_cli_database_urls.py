"""A Postgres URL that cannot be used is a usage error that names the part, without the password."""

from __future__ import annotations

import pytest

from tests.acceptance.cli.cli_program import Darkroom


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://ann:hu/sh@db.example/shop", "percent-encode"),
        ("postgresql://ann:hush@db.example/shop?sslmod=require", "sslmode is"),
        (
            "postgresql://ann:hush@db.example/shop?sslrootcert=/none.crt&sslmode=verify-ca",
            "/none.crt",
        ),
        ("postgresql://ann:hush@db.example/shop?connect_timeout=soon", "connect_timeout must be"),
    ],
)
async def test_what_cannot_be_read_is_named(darkroom: Darkroom, url: str, said: str) -> None:
    for command in (("queue",), ("migrate",), ("doctor",)):
        output = await darkroom.elsewhere(DATABASE_URL=url).run(*command)
        assert output.code == 2
        assert said in output.err
        assert "DATABASE_URL" in output.err
        assert "hush" not in output.err
        assert "hu/sh" not in output.err
        assert "Traceback" not in output.err


async def test_what_the_server_refuses_is_named(darkroom: Darkroom, database_url: str) -> None:
    url = f"{database_url}?options=-c%20work_men%3D4MB"
    output = await darkroom.elsewhere(DATABASE_URL=url).run("queue")
    assert output.code == 2
    assert "work_men" in output.err


async def test_what_other_programs_add_is_named_in_one_warning(
    darkroom: Darkroom, database_url: str
) -> None:
    url = f"{database_url}?schema=public&connection_limit=5&pool_timeout=20"
    output = await darkroom.elsewhere(DATABASE_URL=url).run("queue")
    assert output.code == 0
    warned = [line for line in output.err.splitlines() if "database_url_parameters_unused" in line]
    assert len(warned) == 1
    assert all(name in warned[0] for name in ("schema", "connection_limit", "pool_timeout"))
