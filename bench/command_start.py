"""`python -m bench.command_start`: the processor time of commands that only start.

Prints the median and the least of several runs for the version, help, Tab and usage errors.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.report_page import table

RUNS = 9
CALLS = ("version", "--help", "jobs --help", "queue --frob", "jobs list --limit x")
TABS = ("darkroom ", "darkroom jobs ", "darkroom enqueue --")


def cpu_seconds(words: Sequence[str], environ: Mapping[str, str]) -> list[float]:
    """Run `darkroom` several times. Returns user and system time of each run."""
    program = str(Path(sys.executable).with_name("darkroom"))
    found = []
    for _ in range(RUNS):
        process = subprocess.Popen(
            [program, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environ},
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        found.append(used.ru_utime + used.ru_stime)
    return found


def main() -> int:
    """Measure and print."""
    measured = {f"`darkroom {call}`": cpu_seconds(call.split(), {}) for call in CALLS}
    for typed in TABS:
        completion = {
            "_DARKROOM_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split(" ")) - 1),
        }
        measured[f"Tab after `{typed}`"] = cpu_seconds([], completion)
    rows = [
        [name, f"{statistics.median(found):.2f}", f"{min(found):.2f}"]
        for name, found in measured.items()
    ]
    print(table(["call", "median CPU s", "least CPU s"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
