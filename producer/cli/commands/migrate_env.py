"""`darkroom migrate` and `darkroom env`: the schema and the URLs of the servers."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.command_runner import run
from producer.cli.display.console import (
    build_table,
    print_data,
    print_json,
    print_message,
    stdout_console,
)
from producer.cli.display.text_format import duration_text, printable, time_text
from producer.cli.options import AsJson
from shared.domain.counted import counted
from shared.job_json import timestamp_to_json
from shared.redis_url.redis_url import without_prefix

if TYPE_CHECKING:
    from shared.adapters.postgres.migrations import Migration
    from shared.adapters.postgres.sql_definitions import SqlDefinition
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
        from shared.adapters.postgres.migrations import definition_status, migration_status
        from shared.adapters.postgres.migrations import migrate as apply_migrations
        from shared.adapters.postgres.missing_rights import list_missing_roles
        from shared.adapters.servers import open_servers

        schema = settings.database_schema
        opening = open_servers(
            settings,
            needs_redis=False,
            check_schema=False,
            creates_database=not status,
            for_migrations=True,
        )
        async with opening as servers:
            if status:
                known: list[Migration | SqlDefinition] = [
                    *await migration_status(servers.database_url, schema),
                    *await definition_status(servers.database_url, schema),
                ]
                _list(known, as_json=as_json)
                return
            definitions: list[SqlDefinition] = []
            applied = await apply_migrations(
                servers.database_url, schema=schema, on_definition=definitions.append
            )
            new: list[Migration | SqlDefinition] = [*applied, *definitions]
            _say_missing_roles(await list_missing_roles(servers.database_url, schema))
            if as_json:
                print_json(*(_to_json(one) for one in new))
                return
            for one in new:
                print_data(f"applied {_name(one)}")
            known = [*await migration_status(servers.database_url, schema)]
            count = counted(len(known), "migration")
            place = printable(servers.database_place)
        print_message(f"the schema is up to date: {count}; database {place}", "green")

    run(step)


def env(as_json: AsJson = False) -> None:
    """Print export lines with the DATABASE_URL, REDIS_URL and REDIS_PREFIX in use, for scripts."""

    async def step(settings: Settings) -> None:
        from shared.adapters.servers import open_servers

        opening = open_servers(
            settings,
            check_schema=settings.database_url is None,
            creates_database=False,
            linger_seconds=ENV_LINGER_SECONDS,
        )
        async with opening as servers:
            redis_url = without_prefix(servers.redis_url)
            urls = {"DATABASE_URL": servers.database_url, "REDIS_URL": redis_url}
            if settings.redis_prefix:
                urls["REDIS_PREFIX"] = settings.redis_prefix
            is_embedded = servers.embedded is not None
        if as_json:
            print_json(urls)
        else:
            for name, url in urls.items():
                print_data(f"export {name}={shlex.quote(url)}")
        if is_embedded:
            print_message(
                f"embedded servers: they keep running for {duration_text(ENV_LINGER_SECONDS)} after"
                " the last process that uses them"
            )

    run(step)


def _say_missing_roles(statements: list[str]) -> None:
    if statements:
        print_message(
            "the roles of Darkroom are not complete, and this login may not make them. They are"
            " optional: the owner of the tables can do everything. For logins of less rights, an"
            " administrator types what follows, and you run `darkroom migrate` again:",
            "yellow",
        )
        for one in statements:
            print_message(f"  {one}")


def _list(known: list[Migration | SqlDefinition], *, as_json: bool) -> None:
    if as_json:
        print_json(*(_to_json(one) for one in known))
        return
    table = build_table("migration", "applied")
    for one in known:
        table.add_row(_name(one), time_text(one.applied_at) if one.applied_at else "missing")
    stdout_console().print(table)


def _name(one: Migration | SqlDefinition) -> str:
    number = getattr(one, "number", None)
    return one.name if number is None else f"{number:04}_{one.name}"


def _to_json(one: Migration | SqlDefinition) -> dict[str, object]:
    return {
        # Functions and roles have no number: they are applied again when they change.
        "number": getattr(one, "number", None),
        "name": one.name,
        "applied_at": timestamp_to_json(one.applied_at),
    }
