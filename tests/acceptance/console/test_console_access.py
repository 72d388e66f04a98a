"""Access to the console: logins, sessions, and what is refused to whom."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from producer.console.page import CONSOLE, VIEWERS, Action
from producer.console.page_table import ACTIONS, PAGES
from producer.keys.key_store import KeyStore
from producer.keys.roles import Role
from tests.acceptance.test_http_access import key_of
from tests.support.api_client import ApiClient
from tests.support.console_client import ConsoleClient, browsing
from tests.support.deployment import Deployment, eventually

SOME_ID = "019f0000-0000-7000-8000-000000000000"


def path_of(path: str) -> str:
    """Return a path of the table with something in place of each part in braces."""
    return CONSOLE + re.sub(r"\{(\w+)\}", lambda part: PARTS.get(part[1], SOME_ID), path)


PARTS = {
    "model": "gpt-4o-image",
    "task": "text-to-image",
    "quantity": "1",
    "account": "acme",
    "number": "1",
}


@pytest.fixture
async def keys(deployment: Deployment) -> dict[Role, str]:
    """A key of each role."""
    return {
        role: await key_of(deployment, role, "acme" if role is Role.SERVICE else None)
        for role in Role
    }


@pytest.fixture
async def api(deployment: Deployment, keys: dict[Role, str]) -> AsyncIterator[ApiClient]:
    """The API, closed by keys."""
    del keys
    async with deployment.api() as client:
        yield client


async def count(deployment: Deployment, table: str) -> int:
    return int((await deployment.run_sql(f"SELECT count(*) AS n FROM {table}"))[0]["n"])


# --- without keys -----------------------------------------------------------------------------


async def test_without_keys_the_console_is_open_here_and_says_so(
    deployment: Deployment,
) -> None:
    async with deployment.api() as api, browsing(api) as browser:
        text = (await browser.get(CONSOLE)).expect(200)
        assert "because no API key exists" in text
        assert (await browser.get("/console/login")).location == CONSOLE
        assert (await browser.get("/", Accept="text/html,*/*;q=0.8")).location == CONSOLE
        assert (await browser.get("/", Accept="application/json")).status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Referer": "https://evil.example/page"},
        {"X_Forwarded_For": "203.0.113.7"},
        {"Host": "evil.example"},
    ],
)
async def test_without_keys_a_foreign_page_can_neither_read_nor_post(
    deployment: Deployment, headers: dict[str, str]
) -> None:
    async with deployment.api() as api, browsing(api) as browser:
        assert (await browser.get(CONSOLE, **headers)).status in {400, 401}
        token = {"form_token": await browser.form_token()}
        for action in ACTIONS:
            answer = await browser.send_form(path_of(action.path), token, **headers)
            assert answer.status in {400, 401, 403}, action.name


async def test_without_keys_a_form_without_its_token_is_refused(deployment: Deployment) -> None:
    async with deployment.api() as api, browsing(api) as browser:
        for action in ACTIONS:
            for token in ("", "0123.4567", "\u00e4.\u00e4"):
                fields = {"form_token": token}
                answer = await browser.post(path_of(action.path), fields)
                assert "this form was not accepted" in answer.expect(403), action.name


async def test_the_first_key_closes_the_console(deployment: Deployment) -> None:
    async with deployment.api() as api, browsing(api) as browser:
        (await browser.get(CONSOLE)).expect(200)
        await key_of(deployment, Role.ADMIN)

        async def is_closed() -> bool:
            return (await browser.get(CONSOLE)).status == 303

        await eventually(is_closed, "the console asks for a login", 3)


# --- the login --------------------------------------------------------------------------------


async def test_every_page_leads_to_the_login_and_back(
    api: ApiClient, keys: dict[Role, str]
) -> None:
    async with browsing(api) as browser:
        for page in PAGES:
            answer = await browser.get(path_of(page.path))
            assert answer.location.startswith("/console/login?next=%2Fconsole"), page.name
        back = await browser.log_in(keys[Role.VIEWER], next="/console/sessions?ended=yes")
        assert back.location == "/console/sessions?ended=yes"
        assert "because no API key exists" not in (await browser.get(CONSOLE)).expect(200)
        answer = await browser.get("/console", HX_Request="true")
        answer.expect(200)


FOREIGN = (
    "https://evil.example",
    "//evil.example",
    "/console/../../evil",
    "/console\\@evil.example",
    "/consolex",
    "/v1/jobs",
    "javascript:alert(1)",
    "/console\r\nSet-Cookie: a=b",
    "/console /x",
)


async def test_a_login_leads_nowhere_but_into_the_console(
    api: ApiClient, keys: dict[Role, str]
) -> None:
    async with browsing(api) as browser:
        for path in FOREIGN:
            answer = await browser.log_in(keys[Role.ADMIN], next=path)
            assert answer.location == CONSOLE, path


async def test_the_cookie_is_for_this_site_and_no_script(
    api: ApiClient, keys: dict[Role, str]
) -> None:
    async with browsing(api) as browser:
        answer = await browser.log_in(keys[Role.OPERATOR])
        [cookie] = [
            one
            for one in answer.headers.getall("Set-Cookie")  # type: ignore[attr-defined]
            if re.match(r"darkroom_session=[\w-]{43};", one)
        ]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Secure" not in cookie
        assert "Max-Age" not in cookie
        host = browser.origin.removeprefix("http://")
        secure = await browser.send_form(
            "/console/login", {"key": keys[Role.OPERATOR]}, Origin=f"https://{host}"
        )
        assert re.search(
            r"__Host-darkroom_session=[\w-]{43}; HttpOnly; Path=/; SameSite=Lax; Secure",
            str(secure.headers),
        )


async def test_a_session_is_new_at_each_login_and_its_token_is_stored_nowhere(
    deployment: Deployment, api: ApiClient, keys: dict[Role, str]
) -> None:
    async with browsing(api) as browser:
        planted = "A" * 43
        jar = browser.session.cookie_jar
        jar.update_cookies({"darkroom_session": planted}, URL(browser.origin))
        (await browser.log_in(keys[Role.ADMIN])).expect(303)
        tokens = [one.value for one in jar]
        assert planted not in tokens
        rows = await deployment.run_sql(
            "SELECT console_sessions::text AS whole FROM console_sessions"
        )
        assert len(rows) == 1
        assert not [token for token in tokens if token and token in rows[0]["whole"]]


async def test_a_service_key_does_not_log_in(
    deployment: Deployment, api: ApiClient, keys: dict[Role, str]
) -> None:
    async with browsing(api) as browser:
        text = (await browser.log_in(keys[Role.SERVICE])).expect(403)
    assert "is for programs" in text
    assert await count(deployment, "console_sessions") == 0


async def test_logins_that_fail_are_limited_with_the_time_to_wait(
    deployment: Deployment, api: ApiClient, keys: dict[Role, str]
) -> None:
    wrong = keys[Role.ADMIN][:-1] + ("a" if keys[Role.ADMIN][-1] != "a" else "b")
    async with browsing(api) as browser:
        for key in [wrong, "", "dk_", "\u00e4", "x" * 5000, *[wrong] * 5]:
            text = (await browser.log_in(key)).expect(401)
            assert "not accepted" in text
            assert len(key) < 5 or key not in text
        refused = await browser.log_in(keys[Role.ADMIN])
        refused.expect(429)
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert await count(deployment, "console_sessions") == 0


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}],
)
async def test_a_login_by_another_page_is_refused(
    api: ApiClient, keys: dict[Role, str], headers: dict[str, str]
) -> None:
    async with browsing(api) as browser:
        answer = await browser.send_form("/console/login", {"key": keys[Role.ADMIN]}, **headers)
        answer.expect(403)
        assert not list(browser.session.cookie_jar)


# --- sessions ---------------------------------------------------------------------------------


async def test_a_logout_ends_the_session_also_for_a_copied_cookie(
    deployment: Deployment, api: ApiClient, keys: dict[Role, str]
) -> None:
    async with browsing(api, keys[Role.VIEWER]) as browser, browsing(api) as thief:
        copied = {one.key: one.value for one in browser.session.cookie_jar if one.value}
        thief.session.cookie_jar.update_cookies(copied)
        (await thief.get(CONSOLE)).expect(200)
        assert (await browser.post("/console/logout")).location == "/console/login"
        assert (await thief.get(CONSOLE)).status == 303
    rows = await deployment.run_sql(
        "SELECT act, via FROM audit_entries WHERE act LIKE 'session%' ORDER BY id"
    )
    assert [(row["act"], row["via"]) for row in rows] == [
        ("session_opened", "console"),
        ("session_ended", "console"),
    ]


async def test_a_revoked_key_ends_its_sessions(
    deployment: Deployment, api: ApiClient, keys: dict[Role, str]
) -> None:
    async with browsing(api, keys[Role.OPERATOR]) as browser:
        (await browser.get(CONSOLE)).expect(200)
        await KeyStore(deployment.database).revoke(keys[Role.OPERATOR])
        assert (await browser.get(CONSOLE)).status == 303


@pytest.mark.parametrize(
    "change", ["expires_at = now()", "last_seen_at = now() - interval '12 hours 1 second'"]
)
async def test_a_session_ends_by_time(
    deployment: Deployment, api: ApiClient, keys: dict[Role, str], change: str
) -> None:
    async with browsing(api, keys[Role.VIEWER]) as browser:
        await deployment.run_sql(f"UPDATE console_sessions SET {change}")
        assert (await browser.get(CONSOLE)).status == 303


async def test_an_admin_ends_every_session_and_others_those_of_their_key(
    deployment: Deployment, api: ApiClient, keys: dict[Role, str]
) -> None:
    async with (
        browsing(api, keys[Role.ADMIN]) as admin,
        browsing(api, keys[Role.VIEWER]) as viewer,
    ):
        ids = {
            row["role"]: row["id"]
            for row in await deployment.run_sql(
                "SELECT role, console_sessions.id FROM console_sessions"
                " JOIN api_keys ON api_keys.id = key_id"
            )
        }
        listed = (await viewer.get("/console/sessions")).expect(200)
        assert keys[Role.ADMIN][:15] not in listed
        (await viewer.post(f"/console/sessions/{ids['admin']}/end")).expect(404)
        (await admin.get(CONSOLE)).expect(200)
        (await admin.post("/console/sessions/nonsense/end")).expect(404)
        done = await admin.post(f"/console/sessions/{ids['viewer']}/end")
        assert done.location == "/console/sessions"
        assert "The session was ended." in (await admin.get("/console/sessions")).expect(200)
        assert "The session was ended." not in (await admin.get("/console/sessions")).text
        assert (await viewer.get(CONSOLE)).status == 303


async def test_a_form_of_another_session_is_refused(api: ApiClient, keys: dict[Role, str]) -> None:
    async with (
        browsing(api, keys[Role.ADMIN]) as admin,
        browsing(api, keys[Role.ADMIN]) as other,
    ):
        fields = {"form_token": await other.form_token()}
        assert fields["form_token"]
        assert "another login" in (await admin.post("/console/logout", fields)).expect(403)
        for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "same-site"}):
            (await admin.post("/console/logout", None, **headers)).expect(403)
        (await admin.get(CONSOLE)).expect(200)


# --- roles ------------------------------------------------------------------------------------


async def test_each_page_and_each_action_is_refused_to_every_other_role(
    deployment: Deployment, api: ApiClient, keys: dict[Role, str]
) -> None:
    for role in sorted(VIEWERS):
        async with browsing(api, keys[role]) as browser:
            before = await stored(deployment)
            for page in [one for one in PAGES if role not in one.roles]:
                assert "allowed:" in (await browser.get(path_of(page.path))).expect(403), page.name
            for action in [one for one in ACTIONS if role not in one.roles]:
                await expect_refusal(browser, action)
            assert await stored(deployment) == before


async def expect_refusal(browser: ConsoleClient, action: Action) -> None:
    """Forge the action, and ask for its form. Fail unless both are refused to the role."""
    path = path_of(action.path)
    assert "allowed:" in (await browser.post(path)).expect(403), path
    if action.form is not None:
        assert "allowed:" in (await browser.get(path)).expect(403), path


async def stored(deployment: Deployment) -> list[object]:
    """Return what an action could change."""
    tables = ("audit_entries", "jobs", "ledger_entries", "pricing_history", "webhook_messages")
    return [await count(deployment, table) for table in tables]


def test_every_action_says_who_may_and_only_what_costs_nothing_is_for_viewers() -> None:
    assert {one.name for one in ACTIONS if Role.VIEWER in one.roles} == {"end_session"}
    assert not [one.name for one in PAGES if Role.SERVICE in one.roles]
    assert not [one.name for one in ACTIONS if Role.SERVICE in one.roles]
