"""What goes wrong in a window is noticed: faults of pages made for it, and none of a good page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from playwright.async_api import Browser, StorageState

from producer.keys.roles import Role
from tests.browser.browser_windows import Window, Windows

pytestmark = pytest.mark.asyncio(loop_scope="session")
_GOOD = "<h1>Jobs</h1><p>All is well.</p>"


class PageServer:
    """A system with one page and without keys."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.logins: dict[Role, StorageState] = {}

    async def key_of(self, role: Role) -> str:
        raise AssertionError(f"nobody logs in as {role}")


@asynccontextmanager
async def served_page(body: str) -> AsyncIterator[str]:
    """Serve one page under a strict policy, and nothing else but its icon."""

    async def answer(_: web.Request) -> web.Response:
        html = f"<!doctype html><html lang=en><title>Jobs</title><main>{body}</main></html>"
        policy = {"Content-Security-Policy": "default-src 'self'; script-src 'nonce-ours'"}
        return web.Response(text=html, content_type="text/html", headers=policy)

    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def send_icon(_: web.Request) -> web.Response:
        return web.Response()

    application = web.Application()
    application.add_routes(
        [
            web.get("/", answer),
            web.get("/favicon.ico", send_icon),
            web.get("/cut", cut),
        ]
    )
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def faults_of(chromium: Browser, body: str) -> list[str]:
    """Visit a page with this body at the width of a phone, and return what was noticed."""
    async with served_page(body) as url:
        windows = Windows(chromium, PageServer(url))
        window: Window = await windows.open(width=390)
        await window.open("/")
        await window.check_width()
        await window.check_accessibility()
        return await windows.close()


@pytest.mark.parametrize(
    ("body", "notice"),
    [
        ("<script nonce=ours>console.error('it broke')</script>", "console error: it broke"),
        ("<script nonce=ours>console.warn('it may break')</script>", "console warning: it may"),
        ("<script nonce=ours>nowhere.at.all</script>", "nowhere is not defined"),
        ("<script>document.title = 'x'</script>", "Content Security Policy"),
        ("<p style='color: red'>red</p>", "Content Security Policy"),
        ("<img alt=x src=http://127.0.0.1:1/x.png>", "CSP: img-src blocked"),
        ("<img alt=x src=/none.png>", "/none.png answers 404"),
        (
            "<script nonce=ours>fetch('/cut').catch(() => 0)</script>",
            "/cut failed",
        ),
        ("<pre>" + "wide " * 100 + "</pre>", "wider than the window"),
        ("<img src=/favicon.ico>", "axe, critical: image-alt"),
        ("<input name=id>", "axe, critical: label"),
    ],
)
async def test_a_fault_of_a_page_is_noticed(chromium: Browser, body: str, notice: str) -> None:
    faults = await faults_of(chromium, _GOOD + body)
    assert notice in "\n".join(faults)


async def test_a_page_without_fault_is_left_alone(chromium: Browser) -> None:
    assert await faults_of(chromium, _GOOD) == []
