"""Runs the demo and returns its exit code."""

from __future__ import annotations

import os
import time

from producer.cli.command_runner import run_with_settings, with_quiet_logging
from producer.cli.demo.demo_checks import find_differences
from producer.cli.demo.demo_jobs import ACCOUNT, DEMO_JOBS
from producer.cli.demo.demo_processes import (
    DemoProcesses,
    demo_settings,
    ignored_settings,
    start_processes,
)
from producer.cli.demo.demo_report import print_next, print_result
from producer.cli.demo.demo_run import open_account, run_jobs
from producer.cli.display.console import print_message, stderr_console, stdout_console
from producer.cli.display.text_format import credits_text, duration_text, printable
from producer.cli.exit_codes import ExitCode
from producer.cli.processes.log_lines import format_text
from shared.adapters.monitoring.alert_queries import read_redis_state
from shared.adapters.redis.deliveries import connect_redis
from shared.domain.counted import counted
from shared.errors import RedisDown, WaitTimedOut
from shared.kie_accounts import DEFAULT_ACCOUNT
from shared.settings import Settings


def run_demo() -> None:
    """Run the demo and exit with its code."""
    ignored = ignored_settings(os.environ)
    if ignored:
        print_message(
            f"{', '.join(ignored)} {'is' if len(ignored) == 1 else 'are'} set and left alone: the"
            " demo runs on embedded servers and the simulator only",
            "bold yellow",
        )

    async def step(settings: Settings) -> ExitCode:
        return await _run(settings, ignored)

    run_with_settings(with_quiet_logging(demo_settings(os.environ)), step)


async def _run(settings: Settings, ignored: list[str]) -> ExitCode:
    began = time.monotonic()
    print_message(
        f"Darkroom demo: embedded Postgres and Valkey, in {settings.darkroom_home}", "bold"
    )
    print_message(
        "KIE IS SIMULATED: the images are drawn by the bundled simulator, no money moves", "yellow"
    )
    async with start_processes(settings) as processes:
        _print_addresses(processes, time.monotonic() - began)
        before = await open_account(processes.context.producer.billing)
        if before.held:
            print_message("jobs of an earlier demo that was interrupted are still open", "yellow")
        print_message(
            f"account {ACCOUNT!r} has {credits_text(before.available)} credits; POST"
            f" /v1/jobs/batch takes {counted(len(DEMO_JOBS), 'job')}, one of which Kie will fail"
        )
        try:
            result = await run_jobs(processes, before)
        except WaitTimedOut as error:
            await _print_timeout(processes, error)
            return ExitCode.ERROR
    console = stdout_console()
    print_result(console, result)
    differences = find_differences(result)
    console.print()
    for sentence in differences:
        console.print(f"✗ {printable(sentence)}", style="bold red", soft_wrap=True)
    if not differences:
        console.print(
            "✓ as expected: each success was charged once, the failure cost nothing"
            f" ({duration_text(time.monotonic() - began)} in all)",
            style="bold green",
            soft_wrap=True,
        )
    print_next(console, result, ignored)
    return ExitCode.ERROR if differences else ExitCode.DONE


def _print_addresses(processes: DemoProcesses, seconds: float) -> None:
    print_message(f"ready after {duration_text(seconds)}:", "green")
    print_message(f"  simulator  {processes.simulator_url}/simulator/record")
    print_message(f"  worker     http://{processes.addresses['worker']}/metrics")
    print_message(f"  api        http://{processes.addresses['api']}/docs")


async def _print_timeout(processes: DemoProcesses, error: WaitTimedOut) -> None:
    print_message(str(error), "bold red")
    try:
        async with connect_redis(processes.context.servers.redis_url, connections=1) as redis:
            found = await read_redis_state(redis, [DEFAULT_ACCOUNT])
    except RedisDown as down:
        print_message(str(down), "bold red")
    else:
        for _, pause in found.pauses:
            print_message(
                f"submitting is paused ({printable(pause.reason)}: {printable(pause.message)})",
                "red",
            )
    print_message("the last lines of worker and API:", "dim")
    console = stderr_console()
    for line in list(processes.logs)[-15:]:
        console.print(format_text(line), soft_wrap=True)
