"""`darkroom queue`: print the queue overview, once or every second; pause and resume submits."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from producer.cli.command_runner import (
    CommandContext,
    command_actor,
    open_command_context,
    run,
    run_connected,
)
from producer.cli.commands.queue.incidents import acknowledge, end_brake, lost_writes
from producer.cli.commands.queue.waiting import waiting
from producer.cli.display.console import (
    build_table,
    print_data,
    print_json,
    print_message,
    stdout_console,
)
from producer.cli.display.tables.history_table import history_table
from producer.cli.display.tables.queue_tables import queue_line, queue_overview_view
from producer.cli.display.text_format import NO_VALUE, printable, time_text
from producer.cli.exit_codes import ExitCode
from producer.cli.options import AsJson, BelowEntry, Limit, Reason, parse_duration, parse_time
from producer.monitoring.history import (
    HISTORY_HOURS_DEFAULT,
    HISTORY_HOURS_MAX,
    sample_to_json,
)
from shared.errors import DependencyDown, PostgresDown, RedisDown

if TYPE_CHECKING:
    from rich.live import Live

    from producer.monitoring.overview import Overview
    from producer.pauses import Pause, PauseScope
    from shared.settings import Settings

WATCH_SECONDS = 1.0
WATCH_SECONDS_UNWATCHED = 5.0
READ_SECONDS = 5.0
app = typer.Typer()


@app.callback(invoke_without_command=True)
def queue(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", help="Every second, until Ctrl-C; survives outages.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the queue: depth, oldest, in flight, rates, money, failures. Pause it."""
    if context.invoked_subcommand is not None:
        if watch or as_json:
            raise typer.BadParameter(f"give options after `{context.invoked_subcommand}`")
        return

    async def step(settings: Settings) -> ExitCode:
        if watch:
            await _watch(settings, as_json=as_json)
        async with open_command_context(settings) as context:
            view = await context.producer.overview()
        place = context.servers.database_place
        if as_json:
            _print_overview(view, place)
        else:
            stdout_console().print(queue_overview_view(view, place))
        if view.redis_error is not None:
            raise RedisDown(view.redis_error)
        return ExitCode.DONE

    run(step)


def _print_overview(view: Overview, database_place: str) -> None:
    """Print the overview as one object, with the database that it is of."""
    from producer.monitoring.overview import overview_to_json

    print_json({"database": database_place, **overview_to_json(view)})


class _WatchDisplay(Protocol):
    """The output of `--watch`."""

    def show(self, view: Overview, database_place: str) -> None: ...

    def show_error(self, error: str, now: datetime) -> None: ...


class _JsonDisplay:
    def show(self, view: Overview, database_place: str) -> None:
        _print_overview(view, database_place)

    def show_error(self, error: str, now: datetime) -> None:
        print_message(f"{now:%H:%M:%S}Z {printable(error)}", "red")


class _LineDisplay(_JsonDisplay):
    def show(self, view: Overview, database_place: str) -> None:
        print_data(queue_line(view))


class _LiveDisplay:
    def __init__(self, live: Live) -> None:
        self._live = live
        self._last: RenderableType = Text("nothing was read yet", style="dim")

    def show(self, view: Overview, database_place: str) -> None:
        self._last = queue_overview_view(view, database_place)
        self._live.update(self._last, refresh=True)

    def show_error(self, error: str, now: datetime) -> None:
        message = Text(f"{now:%H:%M:%S}Z {printable(error)}; trying again", style="bold red")
        self._live.update(Group(message, "", self._last), refresh=True)


@contextmanager
def _open_watch_display(*, as_json: bool) -> Iterator[_WatchDisplay]:
    if as_json:
        yield _JsonDisplay()
    elif sys.stdout.isatty():
        from rich.live import Live

        with Live(console=stdout_console(), auto_refresh=False, screen=False) as live:
            yield _LiveDisplay(live)
    else:
        yield _LineDisplay()


async def _watch(settings: Settings, *, as_json: bool) -> None:
    """Show the queue repeatedly. If a server is down, show the error and connect again."""
    import asyncio

    pause_seconds = WATCH_SECONDS if sys.stdout.isatty() else WATCH_SECONDS_UNWATCHED
    with _open_watch_display(as_json=as_json) as display:
        while True:
            try:
                async with open_command_context(settings) as context:
                    await _keep_reading(context, display, pause_seconds)
            except DependencyDown as error:
                display.show_error(str(error), datetime.now(UTC))
            await asyncio.sleep(pause_seconds)


async def _keep_reading(
    context: CommandContext, display: _WatchDisplay, pause_seconds: float
) -> None:
    import asyncio

    while True:
        now = datetime.now(UTC)
        try:
            async with asyncio.timeout(READ_SECONDS):
                view = await context.producer.overview()
        except TimeoutError:
            display.show_error(f"Postgres gave no answer within {READ_SECONDS:g} s", now)
        except PostgresDown as error:
            display.show_error(str(error), now)
        else:
            display.show(view, context.servers.database_place)
        await asyncio.sleep(pause_seconds)


@app.command("history")
def show_history(
    hours: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=HISTORY_HOURS_MAX, help="How far to look back, at most 168."
        ),
    ] = HISTORY_HOURS_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show what the workers sampled in the last hours, oldest first."""

    async def step(context: CommandContext) -> None:
        history = await context.producer.history(hours)
        if as_json:
            print_json(*map(sample_to_json, history.samples))
        elif history.samples:
            stdout_console().print(history_table(history, hours))
        else:
            print_message("no history yet: it is recorded while a worker runs")

    run_connected(step)


app.command("waiting")(waiting)


Everything = Annotated[bool, typer.Option("--everything", help="All submits.")]
OfModel = Annotated[str | None, typer.Option("--model", metavar="M", help="Those of a model.")]
OfAccount = Annotated[str | None, typer.Option("--account", metavar="A", help="An account's.")]
OfKieAccount = Annotated[
    str | None,
    typer.Option(
        "--kie-account",
        metavar="K",
        help="Those by one of our Kie accounts; others take its share.",
    ),
]


@app.command("pause")
def pause_queue(
    reason: Reason,
    everything: Everything = False,
    model: OfModel = None,
    account: OfAccount = None,
    kie_account: OfKieAccount = None,
    until: Annotated[
        datetime | None,
        typer.Option(metavar="TIME", parser=parse_time, help="End automatically at this time."),
    ] = None,
    for_seconds: Annotated[
        float | None,
        typer.Option(
            "--for",
            metavar="TIME",
            parser=parse_duration,
            help="End automatically after 90s, 30m, 2h.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pause submits. Jobs keep their place; tasks that are at Kie are settled."""
    scope, value = _scope_of(everything, model, account, kie_account)
    if until is not None and for_seconds is not None:
        raise typer.BadParameter("give --until or --for, not both")

    async def step(context: CommandContext) -> None:
        pause = await context.producer.pauses.pause(
            *(scope, value),
            reason=reason,
            until=until,
            for_seconds=for_seconds,
            actor=command_actor(),
        )
        _print_pauses([pause], as_json=as_json)

    run_connected(step)


@app.command("resume")
def resume_queue(
    pause_id: Annotated[
        int | None, typer.Argument(metavar="[ID]", min=1, help="The pause's id.")
    ] = None,
    everything: Everything = False,
    model: OfModel = None,
    account: OfAccount = None,
    kie_account: OfKieAccount = None,
    as_json: AsJson = False,
) -> None:
    """End one pause by its id, or every active pause of exactly this scope."""
    scopes = (everything, model, account, kie_account)
    if (pause_id is not None) == any(scopes):
        raise typer.BadParameter(f"give the ID of a pause, or one of {_SCOPE_OPTIONS}")

    async def step(context: CommandContext) -> None:
        pauses = context.producer.pauses
        if pause_id is not None:
            ended = [await pauses.resume(pause_id, actor=command_actor())]
        else:
            ended = await pauses.resume_scope(*_scope_of(*scopes), actor=command_actor())
        _print_pauses(ended, as_json=as_json, none="no such pause is active")
        left = await pauses.active()
        if left and not as_json:
            others = ", ".join(f"{one.id} ({one.subject})" for one in left)
            print_message(f"still active: {others}")

    run_connected(step)


@app.command("pauses")
def list_pauses(
    show_all: Annotated[
        bool, typer.Option("--all", help="Those that have ended too, newest first.")
    ] = False,
    limit: Limit = 20,
    below: BelowEntry = None,
    as_json: AsJson = False,
) -> None:
    """List the active pauses: who, why, since when, until when."""
    if below is not None and not show_all:
        raise typer.BadParameter("--below goes with --all: active pauses are one page")

    async def step(context: CommandContext) -> None:
        next_below = None
        if show_all:
            found, next_below = await context.producer.pauses.page(below=below, limit=limit)
        else:
            found = (await context.producer.pauses.active())[:limit]
        _print_pauses(found, as_json=as_json, none="nothing is paused")
        if next_below is not None:
            print_message(f"older ones: --below {next_below}", "dim")

    run_connected(step)


app.command("end-brake")(end_brake)
app.command("lost-writes")(lost_writes)
app.command("acknowledge")(acknowledge)


_SCOPE_OPTIONS = "--everything, --model, --account, --kie-account"


def _scope_of(
    everything: bool, model: str | None, account: str | None, kie_account: str | None
) -> tuple[PauseScope, str | None]:
    """Return the scope and the value of the one option that is given."""
    given: dict[PauseScope, str | None] = {
        "model": model,
        "account": account,
        "kie_account": kie_account,
    }
    values = [(scope, value) for scope, value in given.items() if value is not None]
    if len(values) + everything != 1:
        raise typer.BadParameter(f"give exactly one of {_SCOPE_OPTIONS}")
    return ("everything", None) if everything else values[0]


def _print_pauses(pauses: Sequence[Pause], *, as_json: bool, none: str = "") -> None:
    if as_json:
        from producer.pauses import pause_to_json

        print_json(*(pause_to_json(pause) for pause in pauses))
    elif pauses:
        stdout_console().print(_pauses_table(pauses))
    else:
        print_message(none)


def _pauses_table(pauses: Sequence[Pause]) -> Table:
    table = build_table(
        "id",
        "applies to",
        "is",
        "since",
        "until",
        "by",
        "why",
        "resumed",
        right=("id",),
        drop=("resumed", "by", "since"),
        sentences=("why", "resumed"),
    )
    for pause in pauses:
        resumed = f"{time_text(pause.resumed_at)} by {printable(pause.resumed_by or '')}"
        table.add_row(
            str(pause.id),
            printable(pause.subject),
            Text("active", style="bold yellow") if pause.is_active else Text("over", style="dim"),
            time_text(pause.paused_at),
            time_text(pause.until),
            printable(pause.paused_by),
            printable(pause.reason),
            resumed if pause.resumed_at is not None else NO_VALUE,
        )
    return table
