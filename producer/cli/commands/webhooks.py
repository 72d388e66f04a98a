"""`darkroom webhooks`: list and replay webhook messages, and manage the secrets of endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from producer.cli.command_runner import CommandContext, command_actor, run_connected
from producer.cli.display.console import (
    build_table,
    print_data,
    print_json,
    print_message,
    stdout_console,
)
from producer.cli.display.tables.webhook_table import build_webhooks_table
from producer.cli.display.text_format import NO_VALUE, command_text, printable, time_text
from producer.cli.options import AccountId, AsJson, Limit, OnlyAccount
from producer.row_json import row_to_json
from shared.domain.counted import counted

app = typer.Typer(no_args_is_help=True)

Url = Annotated[
    str | None,
    typer.Argument(
        metavar="[URL]",
        help="The webhook's URL without query. Without: the whole account.",
    ),
]


@app.command("list")
def list_webhooks(
    account: OnlyAccount = None,
    state: Annotated[
        str | None, typer.Option(metavar="S", help="Only in this state: pending, delivered, dead.")
    ] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List webhook messages, newest first: whether they were taken, and if not, why."""

    async def step(context: CommandContext) -> None:
        rows = await context.producer.webhooks.list(account_id=account, state=state, limit=limit)
        if as_json:
            print_json(*(row_to_json(row) for row in rows))
            return
        if not rows:
            print_message("no such webhooks")
            return
        stdout_console().print(build_webhooks_table(rows))
        dead = sorted({row["account_id"] for row in rows if row["state"] == "dead"})
        for name in dead:
            again = command_text("webhooks", "replay", "--dead", "--account", name)
            print_message(
                f"to send the dead messages of {printable(name)} again: {printable(again)}"
            )

    run_connected(step)


@app.command()
def replay(
    message_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The message's id, msg_...")
    ] = None,
    dead: Annotated[
        bool, typer.Option("--dead", help="All dead messages of the account instead.")
    ] = False,
    account: OnlyAccount = None,
    as_json: AsJson = False,
) -> None:
    """Send a message again, or all dead messages of an account. Their ids stay the same."""
    if (message_id is None) != dead or (account is not None) != dead:
        raise typer.BadParameter("say either ID, or --dead --account A")

    async def step(context: CommandContext) -> None:
        if message_id is not None:
            row = await context.producer.webhooks.replay(message_id, actor=command_actor())
            if as_json:
                print_json(row_to_json(row))
            else:
                print_data(
                    f"{row['id']} {row['event']} is sent again to {printable(row['endpoint'])}"
                )
            return
        count = await context.producer.webhooks.replay_dead(account or "", actor=command_actor())
        if as_json:
            print_json({"account_id": account, "replayed": count})
        else:
            print_data(f"{counted(count, 'message')} sent again")

    run_connected(step)


@app.command()
def endpoints(account: OnlyAccount = None, as_json: AsJson = False) -> None:
    """List where webhooks go, by account."""

    async def step(context: CommandContext) -> None:
        rows = await context.producer.webhooks.endpoints(account)
        if as_json:
            print_json(*(row_to_json(row) for row in rows))
            return
        if not rows:
            print_message(
                "no webhook endpoints: one is made with the first job that names a webhook URL"
            )
            return
        table = build_table(
            "account",
            "url",
            "since",
            "rotated",
            "old secret until",
            drop=("rotated", "since"),
            sentences=("url",),
        )
        for row in rows:
            table.add_row(
                printable(row["account_id"]),
                printable(row["url"]),
                time_text(row["created_at"]),
                time_text(row["rotated_at"]),
                time_text(row["previous_secret_until"]),
            )
        stdout_console().print(table)

    run_connected(step)


@app.command()
def show(
    message_id: Annotated[str, typer.Argument(metavar="ID", help="The message's id, msg_...")],
    as_json: AsJson = False,
) -> None:
    """Show a message with each of its tries, newest first."""

    async def step(context: CommandContext) -> None:
        row = await context.producer.webhooks.get(message_id)
        if as_json:
            history = [row_to_json(one) for one in row["history"]]
            print_json({**row_to_json(row), "history": history})
            return
        stdout_console().print(build_webhooks_table([row]))
        table = build_table("at", "status", "took", "error")
        for one in row["history"]:
            table.add_row(
                time_text(one["at"]),
                str(one["status"] or NO_VALUE),
                f"{one['seconds']:.2f} s",
                printable(one["error"] or NO_VALUE),
            )
        stdout_console().print(table)

    run_connected(step)


@app.command()
def secret(
    account_id: AccountId,
    url: Url = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make the endpoint, or the account's secret.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the secret that signs what is sent to an endpoint, or by the whole account."""

    async def step(context: CommandContext) -> None:
        webhooks, actor = context.producer.webhooks, command_actor()
        if url is not None:
            allow_loopback = context.settings.webhooks_allow_loopback if create else None
            row = await webhooks.secret(account_id, url, allow_loopback=allow_loopback, actor=actor)
        elif create:
            row = await webhooks.account_secrets.create(account_id, actor=actor)
        else:
            row = await webhooks.account_secrets.show(account_id)
        _print_secret(row, as_json=as_json)

    run_connected(step)


@app.command()
def rotate(account_id: AccountId, url: Url = None, as_json: AsJson = False) -> None:
    """Give an endpoint or the account a new secret; the old one is valid for another 24 hours."""

    async def step(context: CommandContext) -> None:
        webhooks, actor = context.producer.webhooks, command_actor()
        if url is None:
            row = await webhooks.account_secrets.rotate(account_id, actor=actor)
        else:
            row = await webhooks.rotate(account_id, url, actor=actor)
        _print_secret(row, as_json=as_json)
        if not as_json:
            print_message(
                f"the old secret is valid until {time_text(row['previous_secret_until'])}"
            )

    run_connected(step)


@app.command()
def revoke(account_id: AccountId, as_json: AsJson = False) -> None:
    """End the secret of the whole account at once; those of its endpoints stay."""

    async def step(context: CommandContext) -> None:
        row = await context.producer.webhooks.account_secrets.revoke(
            account_id, actor=command_actor()
        )
        if as_json:
            print_json(row_to_json(row))
        else:
            made = time_text(row["created_at"])
            print_data(f"the webhook secret of {printable(account_id)}, made {made}, signs no more")

    run_connected(step)


def _print_secret(row: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(row_to_json(row))
    else:
        print_data(row["secret"])
