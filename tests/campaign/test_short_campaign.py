"""A short campaign in every test run; `make campaign` runs the long one."""

from __future__ import annotations

import sys

import pytest

from tests.campaign.campaign_options import CampaignOptions
from tests.campaign.campaign_report import write_report
from tests.campaign.campaign_run import run_campaign

SHORT = CampaignOptions(
    jobs=60,
    kills=8,
    workers=2,
    seed=20_261,
    seconds_per_kill=1.5,
    task_seconds=2.0,
    unknown_limit_seconds=14.0,
    fsync=False,
)


# Half a minute on an idle machine.
@pytest.mark.timeout(240)
async def test_kill_9_of_everybody_loses_nothing_and_pays_and_charges_once() -> None:
    result = await run_campaign(SHORT)
    report = write_report(result)
    sys.stdout.write(report)
    assert result.deaths
    assert result.is_clean, report
