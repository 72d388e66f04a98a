"""What an operator does once a cause is removed: end brakes, read lost writes, acknowledge."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from producer.cli.command_runner import CommandContext, command_actor, run_connected
from producer.cli.confirmation import confirm_doubts
from producer.cli.display.console import (
    build_table,
    print_data,
    print_json,
    print_message,
    stdout_console,
)
from producer.cli.display.text_format import NO_VALUE, printable
from producer.cli.options import AsJson, Reason
from shared.domain.alerts.alert import AcknowledgedAlert
from shared.domain.counted import counted
from shared.kie_accounts import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from producer.monitoring.alert_evidence import Acknowledgement
    from shared.adapters.redis.lost_write_log import LostWriteEvidence


def end_brake(
    reason: Reason,
    kie_account: Annotated[
        str, typer.Option("--kie-account", metavar="K", help="One of our Kie accounts.")
    ] = DEFAULT_ACCOUNT,
    model: Annotated[
        str | None, typer.Option(metavar="M", help="Only its brake for this model.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """End what workers paused by themselves, once Kie accepts submits again."""

    async def step(context: CommandContext) -> None:
        ended = await context.producer.brakes.end(
            kie_account, model, reason=reason, actor=command_actor()
        )
        if as_json:
            print_json(*(asdict(one) for one in ended))
            return
        for one in ended:
            whose = one.kie_account if one.model is None else f"{one.kie_account}, {one.model}"
            print_data(f"ended: {printable(whose)} ({printable(f'{one.reason}: {one.message}')})")
        if not ended:
            print_message(f"no brake of the Kie account {printable(kie_account)} is on")

    run_connected(step)


def lost_writes(as_json: AsJson = False) -> None:
    """Show the jobs, tasks and events that Postgres has lost, as far as workers know."""

    async def step(context: CommandContext) -> None:
        from producer.monitoring.alert_evidence import lost_writes_to_json

        found = await context.producer.alert_evidence.lost_writes()
        if as_json:
            print_json(lost_writes_to_json(found))
        elif found.fields:
            _print_lost_writes(found)
        else:
            print_message("no write is known to be lost")

    run_connected(step)


def acknowledge(
    name: Annotated[AcknowledgedAlert, typer.Argument(metavar="NAME", help="The alert.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; needed off a terminal for writes_lost.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the evidence of an alert that is dealt with: redis_was_wiped or writes_lost."""

    async def step(context: CommandContext) -> None:
        from producer.monitoring.alert_evidence import acknowledgement_to_json

        evidence, seen = context.producer.alert_evidence, None
        if name is AcknowledgedAlert.WRITES_LOST:
            seen = await evidence.lost_writes()
            confirm_doubts(_doubts(seen), yes=yes)
        done = await evidence.acknowledge(name, seen=seen, actor=command_actor())
        if as_json:
            print_json(acknowledgement_to_json(done))
        else:
            _print_acknowledgement(done)

    run_connected(step)


def _doubts(seen: LostWriteEvidence) -> list[str]:
    if not seen.fields:
        return []
    jobs, events = counted(len(seen.jobs), "job"), counted(len(seen.missing_events), "event")
    return [f"this deletes for good the evidence of {jobs} and {events} that Postgres has lost"]


def _print_acknowledgement(done: Acknowledgement) -> None:
    if done.acknowledged:
        pieces = counted(done.acknowledged, "piece of evidence", "pieces of evidence")
        print_data(f"acknowledged: {done.name.value} ({pieces} deleted)")
    elif not done.left:
        print_message(f"there was nothing to acknowledge of {done.name.value}")
    if done.left and done.lost_writes is None:
        print_message("Redis was wiped once more meanwhile, and the alert stays")
    elif done.left:
        newer = counted(done.left, "piece of evidence has", "pieces of evidence have")
        print_message(f"{newer} arrived meanwhile: darkroom queue lost-writes")


def _print_lost_writes(found: LostWriteEvidence) -> None:
    if found.jobs:
        stdout_console().print(_jobs_table(found))
    for gone, newest in found.missing_events:
        left = "no event" if newest is None else f"event {newest.event_id} of {newest.at}"
        print_data(f"event {gone.event_id} of {gone.at} is gone; the newest was then {left}")


def _jobs_table(found: LostWriteEvidence) -> Table:
    table = build_table("job", "in Postgres", "task at Kie", "Kie account")
    for one in found.jobs:
        table.add_row(
            printable(one.job_id),
            "without the task" if one.is_known else "no",
            NO_VALUE if one.task_id is None else printable(one.task_id),
            NO_VALUE if one.account is None else printable(one.account),
        )
    return table
