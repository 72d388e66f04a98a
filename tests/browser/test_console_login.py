"""Login, logout and sessions of the console in a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.browser.browser_windows import Windows
from tests.browser.running_system import RunningSystem

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def log_in(page: Page, key: str) -> None:
    """Send the form with this key."""
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Log in").click()


async def test_without_any_key_the_console_is_open_here_and_says_so(windows: Windows) -> None:
    page = await (await windows.open()).open("/")
    await expect(page).to_have_url(page.url.partition("/console")[0] + "/console")
    await expect(page.get_by_role("note")).to_contain_text("darkroom keys create --role admin")
    await expect(page.get_by_role("button", name="Log out")).to_have_count(0)


async def test_a_page_asks_for_a_login_and_is_shown_after_it(
    windows: Windows, system: RunningSystem
) -> None:
    key = await system.key_of(Role.VIEWER)
    page = await (await windows.open()).open("/console/sessions?ended=yes")
    await expect(page.get_by_label("API key")).to_be_focused()
    await log_in(page, key)
    await expect(page.get_by_role("heading", name="Sessions")).to_be_visible()
    assert page.url.endswith("/console/sessions?ended=yes")
    (cookie,) = await page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert key not in cookie["value"]


@pytest.mark.parametrize("key", ["dk_nonsense", "dk_0123456789ab_" + "a" * 43])
async def test_a_wrong_key_is_refused_with_the_reason(
    windows: Windows, system: RunningSystem, key: str
) -> None:
    await system.key_of(Role.VIEWER)
    window = await windows.open()
    window.allow_status(401)
    page = await window.open("/console/login")
    await log_in(page, key)
    await expect(page.get_by_role("alert")).to_contain_text("not accepted")
    await expect(page.get_by_label("API key")).to_have_value("")
    await window.check_accessibility()


async def test_many_wrong_keys_close_the_login_for_a_while(
    windows: Windows, system: RunningSystem
) -> None:
    key = await system.key_of(Role.VIEWER)
    window = await windows.open()
    window.allow_status(401, 429)
    forget = "DELETE FROM login_failures"
    await system.deployment.run_sql(forget)
    page = await window.open("/console/login")
    for _ in range(10):
        await log_in(page, "dk_nonsense")
        await expect(page.get_by_role("alert")).to_contain_text("not accepted")
    await log_in(page, key)
    await expect(page.get_by_role("alert")).to_contain_text("Too many logins have failed")
    # Other tests log in at the same system.
    await system.deployment.run_sql(forget)


async def test_a_logout_ends_the_session_and_not_only_its_cookie(
    windows: Windows, system: RunningSystem
) -> None:
    window = await windows.open()
    page = await window.open("/console/login")
    await log_in(page, await system.key_of(Role.OPERATOR))
    await page.get_by_role("button", name="Log out").wait_for()
    cookies = await page.context.cookies()
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("API key")).to_be_visible()
    assert await page.context.cookies() == []
    await page.context.add_cookies(
        [{"name": one["name"], "value": one["value"], "url": window.url} for one in cookies]
    )
    await window.open("/console")
    await expect(page.get_by_label("API key")).to_be_visible()


@pytest.mark.drives("end_session")
async def test_an_admin_ends_the_session_of_another(
    windows: Windows, system: RunningSystem
) -> None:
    theirs = await (await windows.open()).open("/console/login")
    await log_in(theirs, await system.key_of(Role.OPERATOR))
    await theirs.get_by_role("button", name="Log out").wait_for()
    admin = await (await windows.open(Role.ADMIN)).open("/console/sessions")
    row = admin.get_by_role("row").filter(has_text="the operator").filter(has_text="open").first
    await row.get_by_role("button", name="End").click()
    await expect(admin.get_by_role("status").first).to_contain_text("The session was ended.")
    await theirs.goto(theirs.url)
    await expect(theirs.get_by_label("API key")).to_be_visible()


async def test_a_revoked_key_ends_its_session(windows: Windows, system: RunningSystem) -> None:
    store = KeyStore(system.deployment.database)
    _, key = await store.create(Role.OPERATOR, name="for a day")
    page = await (await windows.open()).open("/console/login")
    await log_in(page, key)
    await page.get_by_role("button", name="Log out").wait_for()
    await store.revoke(key)

    await page.goto(page.url)
    await expect(page.get_by_label("API key")).to_be_visible()
