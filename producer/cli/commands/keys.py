"""`darkroom keys`: create, list and revoke API keys, and the sessions of the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from producer.cli.command_runner import DatabaseContext, command_actor, run_with_database
from producer.cli.display.console import (
    build_table,
    print_data,
    print_json,
    print_message,
    stdout_console,
)
from producer.cli.display.text_format import NO_VALUE, command_text, printable, time_text
from producer.cli.options import AsJson, OnlyAccount
from producer.job_ids import read_uuid
from producer.keys.roles import Role
from producer.row_json import row_to_json
from shared.errors import NotFound

if TYPE_CHECKING:
    from producer.keys.key_store import ApiKey

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    role: Annotated[
        Role,
        typer.Option(
            help="service: one account; viewer: reads all accounts; operator: cancels and"
            " retries as well; admin: prices and grants as well."
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

    async def step(context: DatabaseContext) -> None:
        from producer.keys.key_store import KeyStore

        key_store = KeyStore(context.database)
        is_first = not await key_store.has_any_key()
        key, text = await key_store.create(role, account, name, actor=command_actor())
        if as_json:
            print_json({**key_to_json(key), "key": text})
            return
        # Do not break the key into lines, so that it can be copied.
        stdout_console().print(text, soft_wrap=True)
        print_message(f"a key for {_whose(key)}. It is not shown again: keep it now")
        print_message(f"recognise it by {key.prefix}; end it: {_revocation(key)}")
        if is_first:
            print_message(
                "it is the first one: from now on the API refuses requests without a key", "yellow"
            )

    run_with_database(step)


@app.command("list")
def list_keys(
    account: OnlyAccount = None,
    as_json: AsJson = False,
) -> None:
    """List keys by their prefixes: those that hold first, each sort newest first."""

    async def step(context: DatabaseContext) -> None:
        from producer.keys.key_store import KeyStore

        keys = await KeyStore(context.database).list(account)
        if as_json:
            print_json(*(key_to_json(key) for key in keys))
        elif keys:
            stdout_console().print(_keys_table(keys))
        elif account is not None:
            print_message("no such keys")
        else:
            print_message("no keys: the API serves this machine only, and asks for none")
            print_message(
                f"create one: {command_text('keys', 'create', '--role', Role.ADMIN.value)}"
            )

    run_with_database(step)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="PREFIX", help="The key's prefix, or its id.")],
    as_json: AsJson = False,
) -> None:
    """Refuse a key from now on, for ever."""

    async def step(context: DatabaseContext) -> None:
        from producer.keys.key_store import KEY_CACHE_SECONDS, KeyStore

        key = await KeyStore(context.database).revoke(name, actor=command_actor())
        if as_json:
            print_json(key_to_json(key))
            return
        print_data(f"{key.prefix} ({_whose(key)}) was revoked at {time_text(key.revoked_at)}")
        print_message(f"it is refused everywhere within {KEY_CACHE_SECONDS:g} s", "dim")

    run_with_database(step)


@app.command("sessions")
def list_sessions(
    with_ended: Annotated[
        bool, typer.Option("--ended", help="Also those that ended in the last 30 days.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List who is logged in to the console, newest first."""

    async def step(context: DatabaseContext) -> None:
        from producer.keys.session_store import SessionStore

        sessions = await SessionStore(context.database).list(with_ended=with_ended)
        if as_json:
            print_json(*(row_to_json(one) for one in sessions))
        elif sessions:
            stdout_console().print(_sessions_table(sessions))
        else:
            print_message("nobody is logged in to the console")

    run_with_database(step)


@app.command("end-session")
def end_session(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the session.")],
    as_json: AsJson = False,
) -> None:
    """End a session of the console at once. The key stays valid."""

    async def step(context: DatabaseContext) -> None:
        from producer.keys.session_store import SessionStore

        found = read_uuid(session_id)
        if found is None:
            raise NotFound(f"{session_id[:80]!r} is not the id of a session")
        await SessionStore(context.database).end(found, actor=command_actor())
        if as_json:
            print_json({"id": str(found), "ended": True})
            return
        print_data(f"the session {found} was ended")

    run_with_database(step)


def key_to_json(key: ApiKey) -> dict[str, Any]:
    """Return a key as JSON, without its secret."""
    return row_to_json(asdict(key))


def _keys_table(keys: Sequence[ApiKey]) -> Table:
    table = build_table(
        "prefix",
        "role",
        "account",
        "for",
        "created",
        "last used",
        "state",
        drop=("created", "for", "last used"),
        sentences=("for",),
    )
    for key in keys:
        table.add_row(
            key.prefix,
            key.role.value,
            printable(key.account_id or NO_VALUE),
            printable(key.name or NO_VALUE),
            time_text(key.created_at),
            time_text(key.last_used_at) if key.last_used_at else "never",
            "revoked" if key.revoked_at else "holds",
            style="dim" if key.revoked_at else None,
        )
    return table


def _sessions_table(sessions: Sequence[Mapping[str, Any]]) -> Table:
    table = build_table(
        "id",
        "key",
        "role",
        "logged in",
        "last seen",
        "from",
        "state",
        drop=("logged in", "from", "role", "last seen", "key"),
    )
    for one in sessions:
        table.add_row(
            str(one["id"]),
            one["prefix"],
            one["role"],
            time_text(one["created_at"]),
            time_text(one["last_seen_at"]),
            printable(one["address"] or NO_VALUE),
            "open" if one["is_open"] else "ended",
            style=None if one["is_open"] else "dim",
        )
    return table


def _whose(key: ApiKey) -> str:
    account = f", account {key.account_id}" if key.account_id is not None else ""
    return printable(f"{key.role}{account}")


def _revocation(key: ApiKey) -> str:
    return command_text("keys", "revoke", key.prefix)
