"""`darkroom keys`: who may ask over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from producer.cli.command_actor import operator
from producer.cli.command_runner import DatabaseAccess, run_with_database
from producer.cli.display.console import data_console, plain_table, put, put_json, say
from producer.cli.display.job_tables import row_to_json
from producer.cli.display.text_format import NOTHING, command_text, moment_text, printable
from producer.cli.options import AsJson
from producer.keys.key_store import MEMORY_SECONDS, ApiKey, KeyRing, Role

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")


@app.command()
def create(
    role: Annotated[
        Role,
        typer.Option(
            help="service: one account; operator: all accounts; admin: prices and grants as well."
        ),
    ],
    account: Annotated[
        str | None, typer.Option(metavar="A", help="Whose key; with --role service only.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="What the key is for.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, once: only its hash is stored."""
    if role is Role.SERVICE and account is None:
        raise typer.BadParameter("--role service needs --account A: such a key is for one account")
    if role is not Role.SERVICE and account is not None:
        raise typer.BadParameter(f"--role {role} is for all accounts: leave --account out")

    async def step(access: DatabaseAccess) -> None:
        ring = KeyRing(access.database)
        is_first = not await ring.is_configured()
        key, text = await ring.create(role, account, name, actor=operator())
        if as_json:
            put_json({**key_to_json(key), "key": text})
            return
        # On a narrow terminal it must stay one word to copy.
        data_console().print(text, soft_wrap=True)
        say(f"a key for {_whose(key)}. It is not shown again: keep it now")
        say(f"recognise it by {key.prefix}; end it: {_revocation(key)}")
        if is_first:
            say("it is the first one: from now on the API refuses whoever sends no key", "yellow")

    run_with_database(step)


@app.command("list")
def list_keys(
    account: Annotated[str | None, typer.Option(metavar="A", help="Only of this account.")] = None,
    as_json: AsJson = False,
) -> None:
    """List keys by their prefixes: those that hold first, each sort newest first."""

    async def step(access: DatabaseAccess) -> None:
        keys = await KeyRing(access.database).list(account)
        if as_json:
            put_json(*(key_to_json(key) for key in keys))
        elif keys:
            data_console().print(_keys_table(keys))
        elif account is not None:
            say("no such keys")
        else:
            say("no keys: the API serves this machine only, and asks for none")
            say(f"create one: {command_text('keys', 'create', '--role', Role.ADMIN.value)}")

    run_with_database(step)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="PREFIX", help="The key's prefix, or its id.")],
    as_json: AsJson = False,
) -> None:
    """Refuse a key from now on, for ever."""

    async def step(access: DatabaseAccess) -> None:
        key = await KeyRing(access.database).revoke(name, actor=operator())
        if as_json:
            put_json(key_to_json(key))
            return
        put(f"{key.prefix} ({_whose(key)}) was revoked at {moment_text(key.revoked_at)}")
        say(f"it is refused everywhere within {MEMORY_SECONDS:g} s", "dim")

    run_with_database(step)


def key_to_json(key: ApiKey) -> dict[str, Any]:
    """Return a key as JSON, without the secret, which nobody has."""
    return row_to_json(asdict(key))


def _keys_table(keys: Sequence[ApiKey]) -> Table:
    table = plain_table("prefix", "role", "account", "for", "created", "last used", "state")
    for key in keys:
        table.add_row(
            key.prefix,
            key.role.value,
            printable(key.account_id or NOTHING),
            printable(key.name or NOTHING),
            moment_text(key.created_at),
            moment_text(key.last_used_at) if key.last_used_at else "never",
            "revoked" if key.revoked_at else "holds",
            style="dim" if key.revoked_at else None,
        )
    return table


def _whose(key: ApiKey) -> str:
    account = f", account {key.account_id}" if key.account_id is not None else ""
    return printable(f"{key.role}{account}")


def _revocation(key: ApiKey) -> str:
    return command_text("keys", "revoke", key.prefix)
