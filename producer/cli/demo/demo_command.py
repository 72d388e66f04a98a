"""The demo from its first line to its exit code."""

from __future__ import annotations

import os
import time

from producer.cli.command_runner import quieted, run_with
from producer.cli.demo.demo_checks import differences
from producer.cli.demo.demo_environment import demo_settings, ignored_names
from producer.cli.demo.demo_jobs import ACCOUNT, SCENES
from producer.cli.demo.demo_processes import Stage, open_stage
from producer.cli.demo.demo_report import print_ending, print_next
from producer.cli.demo.demo_run import open_account, perform
from producer.cli.display.console import data_console, say, talk_console
from producer.cli.display.text_format import count_text, credits_text, printable, seconds_text
from producer.cli.exit_codes import ExitCode
from producer.cli.processes.log_lines import for_people
from shared.adapters.monitoring.alert_queries import read_redis_state
from shared.adapters.redis.deliveries import connect_redis
from shared.errors import RedisDown, WaitTimedOut
from shared.kie_accounts import DEFAULT_ACCOUNT
from shared.settings import Settings


def run_demo() -> None:
    """Run the demo and leave with its exit code."""
    ignored = ignored_names(os.environ)
    if ignored:
        say(
            f"{', '.join(ignored)} {'is' if len(ignored) == 1 else 'are'} set and left alone: the"
            " demo runs on embedded servers and the simulator only",
            "bold yellow",
        )

    async def step(settings: Settings) -> ExitCode:
        return await _play(settings, ignored)

    run_with(quieted(demo_settings(os.environ)), step)


async def _play(settings: Settings, ignored: list[str]) -> ExitCode:
    began = time.monotonic()
    say(f"Darkroom demo: embedded Postgres and Valkey, in {settings.darkroom_home}", "bold")
    say("KIE IS SIMULATED: the images are drawn by the bundled simulator, no money moves", "yellow")
    async with open_stage(settings) as stage:
        _say_ready(stage, time.monotonic() - began)
        before = await open_account(stage.desk.producer.till)
        if before.held:
            say("jobs of an earlier demo that was interrupted are still open", "yellow")
        say(
            f"account {ACCOUNT!r} has {credits_text(before.available)} credits; POST"
            f" /v1/jobs/batch takes {count_text(len(SCENES), 'job')}, one of which Kie will fail"
        )
        try:
            ending = await perform(stage, before)
        except WaitTimedOut as error:
            await _say_why_it_hangs(stage, error)
            return ExitCode.ERROR
    console = data_console()
    print_ending(console, ending)
    wrong = differences(ending)
    console.print()
    for sentence in wrong:
        console.print(f"✗ {printable(sentence)}", style="bold red", soft_wrap=True)
    if not wrong:
        console.print(
            "✓ as expected: each success was charged once, the failure cost nothing"
            f" ({seconds_text(time.monotonic() - began)} in all)",
            style="bold green",
            soft_wrap=True,
        )
    print_next(console, ending, ignored)
    return ExitCode.ERROR if wrong else ExitCode.DONE


def _say_ready(stage: Stage, seconds: float) -> None:
    say(f"ready after {seconds_text(seconds)}:", "green")
    say(f"  simulator  {stage.simulator_url}/simulator/record")
    say(f"  worker     http://{stage.addresses['worker']}/metrics")
    say(f"  api        http://{stage.addresses['api']}/docs")


async def _say_why_it_hangs(stage: Stage, error: WaitTimedOut) -> None:
    say(str(error), "bold red")
    try:
        async with connect_redis(stage.desk.servers.redis_url, connections=1) as redis:
            found = await read_redis_state(redis, [DEFAULT_ACCOUNT])
    except RedisDown as down:
        say(str(down), "bold red")
    else:
        for _, pause in found.pauses:
            say(
                f"submitting is paused ({printable(pause.reason)}: {printable(pause.message)})",
                "red",
            )
    say("the last lines of worker and API:", "dim")
    console = talk_console()
    for line in list(stage.logs)[-15:]:
        console.print(for_people(line), soft_wrap=True)
