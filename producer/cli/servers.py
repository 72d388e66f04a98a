"""`darkroom migrate` and `darkroom env`: the servers themselves."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from producer.cli.options import AsJson
from producer.cli.running import run
from producer.cli.screen import data_console, plain_table, put, put_json, say
from producer.cli.wording import count_text, moment_text, seconds_text
from shared.adapters.job_rows import moment_to_json
from shared.adapters.migrations import Migration, migration_status
from shared.adapters.migrations import migrate as apply_migrations
from shared.adapters.servers import open_servers
from shared.settings import Settings

ENV_LINGER_SECONDS = 600.0


def migrate(
    status: Annotated[
        bool, typer.Option("--status", help="Only list the migrations; change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database's schema up to date."""

    async def step(settings: Settings) -> None:
        async with open_servers(settings, needs_redis=False, check_schema=False) as servers:
            if status:
                _list(await migration_status(servers.database_url), as_json=as_json)
                return
            applied = await apply_migrations(servers.database_url)
            if as_json:
                put_json(*(_to_json(one) for one in applied))
                return
            for one in applied:
                put(f"applied {_name(one)}")
            known = len(await migration_status(servers.database_url))
        say(f"the schema is up to date: {count_text(known, 'migration')}", "green")

    run(step)


def env(as_json: AsJson = False) -> None:
    """Print export lines with the DATABASE_URL and REDIS_URL in use, for psql and scripts."""

    async def step(settings: Settings) -> None:
        opening = open_servers(
            settings,
            check_schema=settings.database_url is None,
            linger_seconds=ENV_LINGER_SECONDS,
        )
        async with opening as servers:
            urls = {"DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url}
            is_embedded = servers.embedded is not None
        if as_json:
            put_json(urls)
        else:
            for name, url in urls.items():
                put(f"export {name}={shlex.quote(url)}")
        if is_embedded:
            say(
                f"embedded servers: they keep running for {seconds_text(ENV_LINGER_SECONDS)} after"
                " the last process that uses them"
            )

    run(step)


def _list(migrations: list[Migration], *, as_json: bool) -> None:
    if as_json:
        put_json(*(_to_json(one) for one in migrations))
        return
    table = plain_table("migration", "applied")
    for one in migrations:
        table.add_row(_name(one), moment_text(one.applied_at) if one.applied_at else "missing")
    data_console().print(table)


def _name(migration: Migration) -> str:
    return f"{migration.number:04}_{migration.name}"


def _to_json(migration: Migration) -> dict[str, object]:
    return {
        "number": migration.number,
        "name": migration.name,
        "applied_at": moment_to_json(migration.applied_at),
    }
