"""Forged fields of forms are refused as bad input. None of them makes a page fail."""

from __future__ import annotations

import pytest

from producer.console.page_table import ACTIONS
from producer.keys.roles import Role
from shared.domain.lifecycle import JobState
from tests.acceptance.console.test_console_access import PARTS
from tests.acceptance.console.test_console_own_role import filled
from tests.acceptance.test_http_access import key_of
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.console_client import browsing
from tests.support.deployment import Deployment

FIELDS = (
    *("count", "shown", "job", "below", "again", "credits", "provider_credits", "until"),
    *("quantity", "takes_effect_at", "verdict", "task_id", "result_urls", "confirm", "scope"),
    *("value", "kie_account", "model", "task", "account_id", "from", "to", "amount", "state"),
    *("via", "confirmed"),
)
FORGED = ("\u00b2", "1e999", "9" * 40, "NaN", "\x00", "0001-01-01T00:00:00+23:59", "[]")


@pytest.mark.parametrize("forged", FORGED)
async def test_no_action_fails_on_a_forged_field(deployment: Deployment, forged: str) -> None:
    setup = DatabaseSetup(deployment.database)
    unknown = await setup.job_in(JobState.UNKNOWN)
    every = {**dict.fromkeys(FIELDS, forged), "reason": "why"}
    # Forged ids and models are refused first, so these name jobs that exist.
    counted = {"state": "failed", "shown": forged, "count": forged}
    failed = []
    async with deployment.api() as api, browsing(api, await key_of(deployment, Role.ADMIN)) as page:
        for action in (one for one in ACTIONS if "session" not in one.path):
            ids = {"/jobs": str(unknown.id), "/accounts": "acme"}
            found = next((one for start, one in ids.items() if action.path.startswith(start)), "1")
            for fields in (every, counted):
                answer = await page.post(filled(action.path, {**PARTS, "id": found}), fields)
                if answer.status >= 500:
                    failed.append((action.path, answer.status))
    assert not failed
