"""`darkroom doctor`: run every check, and print one line for each with its fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from producer.cli.command_runner import run
from producer.cli.display.console import print_json, print_message, stdout_console
from producer.cli.display.text_format import printable, time_text
from producer.cli.exit_codes import ExitCode
from producer.cli.options import AsJson
from shared.domain.counted import counted
from shared.job_json import timestamp_to_json

if TYPE_CHECKING:
    from producer.doctor import Finding
    from shared.settings import Settings

_DEPENDENCIES = frozenset(
    {"postgres", "redis", "postgres is read only", "redis is replica", "redis is full"}
)
"""The findings that mean that a server is not available."""


def doctor(as_json: AsJson = False) -> None:
    """Examine every dependency and every invariant: 0 all is well, 1 or 6 something is not."""

    async def step(settings: Settings) -> ExitCode:
        from producer.doctor import examine

        bad: list[Finding] = []
        seen = 0
        async for finding in examine(settings):
            seen += 1
            _print_finding(finding, as_json=as_json)
            if not finding.ok:
                bad.append(finding)
        if not bad:
            print_message(f"all is well: {counted(seen, 'check')}", "green")
            return ExitCode.DONE
        print_message(f"{len(bad)} of {counted(seen, 'check')} failed", "red")
        is_down = any(finding.name in _DEPENDENCIES for finding in bad)
        return ExitCode.DEPENDENCY_DOWN if is_down else ExitCode.ERROR

    run(step)


def _print_finding(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "name": finding.name,
                "ok": finding.ok,
                "detail": finding.detail,
                "fix": finding.fix,
                "since": timestamp_to_json(finding.since),
            }
        )
        return
    line = Text("✓ " if finding.ok else "✗ ", style="green" if finding.ok else "bold red")
    line.append(finding.name, style="bold").append(
        f": {printable(finding.detail)}", style="not bold default"
    )
    if finding.since is not None:
        line.append(f"; since {time_text(finding.since)}", style="not bold default")
    console = stdout_console()
    console.print(line)
    if finding.fix and not finding.ok:
        console.print(f"    fix: {printable(finding.fix)}", style="yellow")
