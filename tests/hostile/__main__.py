"""`python -m tests.hostile`: attacks a deployment with honest jobs, and checks the outcome."""

from __future__ import annotations

import asyncio
import sys

from tests.hostile.hostile_invariants import faults_of
from tests.hostile.hostile_options import read_command_line
from tests.hostile.hostile_report import BEGIN, END, write_report
from tests.hostile.hostile_run import run_attack
from tests.support.report_page import rewrite_section


def main() -> int:
    """Run a campaign. Return 0 if nothing is wrong, else 1."""
    options = read_command_line(sys.argv[1:])
    outcome = asyncio.run(run_attack(options))
    report = write_report(outcome)
    sys.stdout.write(report)
    if options.report is not None:
        rewrite_section(options.report, BEGIN, END, report)
    return 1 if faults_of(outcome) else 0


if __name__ == "__main__":
    sys.exit(main())
