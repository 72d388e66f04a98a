"""The API and the console below a path of a proxy, which strips that path or passes it on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

import aiohttp
import pytest
from aiohttp import web
from darkroom_client import AsyncDarkroom
from yarl import URL

from producer.console.page_table import PAGES
from producer.keys.roles import Role
from tests.acceptance.console.test_console_access import path_of
from tests.acceptance.test_http_access import key_of
from tests.acceptance.test_http_jobs import order
from tests.support.api_client import ApiClient
from tests.support.console_client import ConsoleClient
from tests.support.deployment import Deployment

ROOT = "/darkroom"
_LINK = re.compile(r'(?:href|src|action|hx-[a-z]+|data-[a-z-]+)="(/[^"]*)"')


@asynccontextmanager
async def proxy_below_root(api: ApiClient, *, strips: bool) -> AsyncIterator[URL]:
    """Run a proxy that serves the API below `ROOT` alone. Yields the address of the proxy."""

    async def forward(request: web.Request) -> web.Response:
        raw = request.raw_path
        if not raw.startswith(f"{ROOT}/"):
            return web.Response(status=404, text="another program")
        path = raw.removeprefix(ROOT) if strips else raw
        target = URL(f"http://{api.session._base_url.authority}{path}", encoded=True)  # type: ignore[union-attr]
        headers = {**request.headers, "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
        async with api.session.request(
            request.method,
            target,
            data=await request.read(),
            headers=headers,
            allow_redirects=False,
        ) as answer:
            kept = [
                (name, value)
                for name, value in answer.headers.items()
                if name in {"Location", "Set-Cookie", "Content-Type"}
            ]
            response = web.Response(body=await answer.read(), status=answer.status)
            for name, value in kept:
                response.headers.add(name, value)
            return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield URL(f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("strips", [True, False])
async def test_every_link_of_the_api_and_of_the_console_leads_through_the_proxy(
    deployment: Deployment, strips: bool
) -> None:
    key = await key_of(deployment, Role.ADMIN)
    async with (
        deployment.api(api_root_path=ROOT, api_trusted_proxies="127.0.0.1") as direct,
        proxy_below_root(direct, strips=strips) as proxy,
        aiohttp.ClientSession(proxy, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        api = ApiClient(session, key)
        placed = await api.post(f"{ROOT}/v1/jobs", order())
        job = placed.expect(202)
        assert placed.headers["Location"] == f"{ROOT}/v1/jobs/{job['id']}"
        assert (await api.get(placed.headers["Location"])).expect(200)["id"] == job["id"]
        await _use_programs(api, f"{proxy}{ROOT}", key)

        host = f"{proxy.host}:{proxy.port}"
        browser = ConsoleClient(session, f"https://{host}")
        to_login = (await browser.get(f"{ROOT}/console/jobs?state=queued")).location
        assert to_login.startswith(f"{ROOT}/console/login?next=")
        given = unquote(to_login.partition("next=")[2])
        answer = await browser.send_form(
            to_login.partition("?")[0], {"key": key, "next": given}, Origin=browser.origin
        )
        assert answer.location == f"{ROOT}/console/jobs?state=queued"
        (cookie,) = answer.headers.getall("Set-Cookie")[-1:]  # type: ignore[attr-defined]
        assert re.match(rf"__Secure-darkroom_session=[\w-]{{43}}; .*Path={ROOT};.*Secure", cookie)
        headers = {"Cookie": cookie.partition(";")[0]}
        links = set()
        for page in [one for one in PAGES if not one.is_stream and not one.is_file]:
            path = ROOT + path_of(page.path).replace("{id}", job["id"])
            async with session.get(path, headers=headers) as shown:
                text = await shown.text()
            links |= set(_LINK.findall(text))
        assert len(links) > 20
        assert {link for link in links if not link.startswith(f"{ROOT}/console")} == set()
        for link in sorted(links)[:60]:
            if link.endswith(("/changes", "/logout")):
                continue
            async with session.get(link.replace("&amp;", "&"), headers=headers) as followed:
                assert followed.status < 500, link
                assert "another program" not in await followed.text()
        opened = await deployment.run_sql("SELECT address FROM console_sessions")
        assert [row["address"] for row in opened] == ["192.0.2.7"]
        actors = await deployment.run_sql(
            "SELECT DISTINCT origin FROM audit_entries WHERE origin IS NOT NULL"
        )
        assert "192.0.2.7" in {row["origin"] for row in actors}


async def _use_programs(api: ApiClient, url: str, key: str) -> None:
    """Read the document, and use the client of Darkroom and a route of OpenAI's API."""
    document = (await api.get(f"{ROOT}/openapi.json")).expect(200)
    assert [one["url"] for one in document["servers"]] == [ROOT]
    assert (await api.get(f"{ROOT}/docs/docs.js")).status == 200
    refused = await api.get(f"{ROOT}/openai/v1/models/none")
    assert refused.expect(404)["error"]["code"], "in OpenAI's shape"
    async with AsyncDarkroom(url, key, account_id="acme") as client:
        ordered = await client.enqueue(prompt="a lighthouse", aspect_ratio="3:2")
        assert (await client.job(ordered.id)).state == "queued"
