"""Prints the jobs of the demo, an image, credits, Kie's record, and commands to try next."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from producer.cli.demo.demo_checks import MAX_POLLS_PER_SECOND
from producer.cli.demo.demo_jobs import ACCOUNT
from producer.cli.demo.demo_run import DemoResult
from producer.cli.demo.simulator_record import FetchedImage
from producer.cli.display.console import build_table, styled_state
from producer.cli.display.text_format import (
    command_text,
    credits_text,
    duration_between_text,
    printable,
    state_text,
)
from shared.domain.counted import counted


def print_result(console: Console, result: DemoResult) -> None:
    """Print the result."""
    console.print()
    console.print(_jobs_table(result))
    console.print()
    if result.image is not None:
        _print_image(console, result.image)
    console.print(_summary_table(result))


def print_next(console: Console, result: DemoResult, ignored: list[str]) -> None:
    """Print the commands to try next."""
    prefix = f"env {' '.join(f'-u {name}' for name in ignored)} " if ignored else ""
    console.print()
    console.print("Try next:", style="bold")
    commands = (
        (("jobs", "show", str(result.jobs[-1].id)), "the job that failed"),
        (("accounts", "ledger", ACCOUNT), "every movement of credits"),
        (("up",), "everything in one terminal"),
        (
            *(("enqueue", "--account", ACCOUNT, "--prompt", "a fox in snow", "--wait"),),
            "while `up` runs",
        ),
        (("doctor",), "is all well?"),
    )
    for words, what in commands:
        line = Text(f"  {prefix}{command_text(*words)}", style="cyan")
        console.print(line.append(f"   # {what}", style="not cyan dim"), soft_wrap=True)


def _jobs_table(result: DemoResult) -> Table:
    table = build_table(
        *("task", "quantity", "state", "images", "quoted", "charged", "wait", "run"),
        right=("quantity", "images", "quoted", "charged", "wait", "run"),
    )
    for job in result.jobs:
        table.add_row(
            job.task,
            str(job.quantity),
            styled_state(printable(state_text(job))),
            str(len(job.result_urls)),
            credits_text(job.credits_quoted),
            credits_text(job.credits_charged),
            duration_between_text(job.created_at, job.submitted_at),
            duration_between_text(job.submitted_at, job.finished_at),
        )
    return table


def _print_image(console: Console, image: FetchedImage) -> None:
    size = f"{len(image.content):,} bytes of {printable(image.content_type)}"
    console.print(f"the first image, fetched: {size}")
    console.print(f"  {printable(image.url)}", soft_wrap=True)
    console.print()


def _summary_table(result: DemoResult) -> Table:
    before, after = result.before, result.after
    succeeded = [job for job in result.jobs if job.credits_charged is not None]
    sums = " + ".join(credits_text(job.credits_charged) for job in succeeded)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(
        "credits",
        f"{credits_text(before.balance)} before, {credits_text(after.balance)} after:"
        f" {credits_text(before.balance - after.balance)} charged"
        f" = {sums or 0}; held {credits_text(after.held)}",
    )
    if result.had_leftovers:
        table.add_row("", "some of it belongs to jobs of an earlier demo that was interrupted")
    table.add_row(
        "Kie's record",
        f"{counted(result.paid_posts, 'paid POST')} for {counted(len(result.jobs), 'job')};"
        f" at most {counted(result.kie_after.worst_polls_per_second, 'poll')} of one task in any"
        f" second ({MAX_POLLS_PER_SECOND} allowed)",
    )
    return table
