"""`python -m tests.campaign`: kills processes of a deployment, and prints how its jobs ended."""

from __future__ import annotations

import asyncio
import sys

from tests.campaign.campaign_options import read_command_line
from tests.campaign.campaign_report import BEGIN, END, write_report
from tests.campaign.campaign_run import run_campaign
from tests.support.report_page import rewrite_section


def main() -> int:
    """Run a campaign. Return 0 if every count that must be zero is zero, else 1."""
    options = read_command_line(sys.argv[1:])
    sys.stderr.write(
        f"{options.jobs} jobs, {options.kills} kills, {options.workers} workers, seed"
        f" {options.seed}: some {options.window_seconds + 30:.0f} s\n"
    )
    result = asyncio.run(run_campaign(options))
    report = write_report(result)
    sys.stdout.write(report)
    if options.report is not None:
        rewrite_section(options.report, BEGIN, END, report)
    return 0 if result.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
