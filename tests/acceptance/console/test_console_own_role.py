"""The console as the API serves it with a login of its own role: every page and every action."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from pydantic import SecretStr

from producer.console.page import CONSOLE
from producer.console.page_table import ACTIONS, PAGES
from producer.keys.roles import Role
from shared.domain.lifecycle import JobState
from tests.acceptance.console.test_console_access import PARTS, path_of
from tests.acceptance.test_http_access import key_of
from tests.integration.database.database_setup import DatabaseSetup
from tests.support.console_client import ConsoleClient, browsing
from tests.support.database_logins import logged_in
from tests.support.deployment import Deployment

REFUSALS_OF_POSTGRES = ("permission denied", "SQLSTATE", "Darkroom made a mistake")


def filled(path: str, parts: Mapping[str, str]) -> str:
    """Return a path of the table with these parts in place of those in braces."""
    for name, value in parts.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    return CONSOLE + path


async def test_every_page_and_form_is_shown_as_a_login_of_the_apis_own_role(
    deployment: Deployment, database_url: str
) -> None:
    setup = DatabaseSetup(deployment.database)
    job = await setup.job_in(JobState.SUCCEEDED, webhook_url="https://hooks.example/x")
    key = await key_of(deployment, Role.ADMIN)
    paths = [page.path for page in PAGES if not page.is_stream]
    paths += [action.path for action in ACTIONS if action.form is not None]
    async with (
        logged_in(database_url, ["darkroom_api"]) as url,
        deployment.api(database_url=SecretStr(url)) as api,
        browsing(api, key) as browser,
    ):
        for path in paths:
            ids = {"/jobs": str(job.id), "/accounts": "acme"}
            found = next((one for start, one in ids.items() if path.startswith(start)), "1")
            answer = await browser.get(filled(path, {**PARTS, "id": found}))
            # 422: the form of an act on many jobs, which names none.
            assert answer.status in {200, 404, 422}, f"{path}: {answer.text[-1500:]}"
            assert not any(word in answer.text for word in REFUSALS_OF_POSTGRES), path


async def test_every_action_is_performed_as_a_login_of_the_apis_own_role(
    deployment: Deployment, database_url: str
) -> None:
    setup = DatabaseSetup(deployment.database)
    ended = await setup.job_in(JobState.SUCCEEDED, webhook_url="https://hooks.example/x")
    failed = await setup.job_in(JobState.FAILED)
    unknown = await setup.job_in(JobState.UNKNOWN)
    queued = await setup.enqueue()
    [message] = (await deployment.producer.job_details(ended.id))["webhooks"]
    other = await key_of(deployment, Role.VIEWER)
    key = await key_of(deployment, Role.ADMIN)
    async with (
        logged_in(database_url, ["darkroom_api"]) as url,
        deployment.api(database_url=SecretStr(url)) as api,
        browsing(api, other),
        browsing(api, key) as browser,
    ):
        rows = await deployment.run_sql("SELECT id FROM console_sessions ORDER BY id LIMIT 1")
        lost = {"verdict": "lost", "reason": "not in the log"}
        replay = f"/jobs/{ended.id}/webhooks/{message['id']}/replay"
        for path, fields in (
            (f"/jobs/{queued.id}/cancel", {}),
            (f"/jobs/{failed.id}/retry", {}),
            (f"/jobs/{unknown.id}/resolve", lost),
            (replay, {}),
            (f"/sessions/{rows[0]['id']}/end", {}),
        ):
            (await browser.post(CONSOLE + path, fields)).expect(303)
        await expect_no_refusal_by_postgres(browser)


async def expect_no_refusal_by_postgres(browser: ConsoleClient) -> None:
    """Send every action without fields: what it lacks is said, and no right is missing."""
    for action in ACTIONS:
        answer = await browser.post(path_of(action.path))
        assert answer.status in {303, 404, 409, 422}, f"{action.name}: {answer.text[-1500:]}"
        assert not any(word in answer.text for word in REFUSALS_OF_POSTGRES), action.name
