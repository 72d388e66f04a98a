"""The images of a request are requested before its job: within the rules for addresses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from producer import InvalidRequest
from producer.files.image_checks import ImageChecks
from shared.adapters.http.image_download import ImageDownloader
from shared.adapters.postgres.database import Database
from tests.integration.worker.test_webhook_sending import ScriptedNames
from tests.support.deployment import image_to_image
from tests.support.example_images import encoded_image, large_png

PNG = encoded_image("PNG")


async def answer(request: web.Request) -> web.StreamResponse:
    match request.path:
        case "/cat.png":
            return web.Response(body=PNG)
        case "/large.png":
            return web.Response(body=large_png(2_000_000))
        case "/moved":
            raise web.HTTPFound("/cat.png")
        case "/moved-inside":
            raise web.HTTPFound("http://10.0.0.7/cat.png")
        case "/moved-around":
            raise web.HTTPFound("/moved-around")
        case "/page":
            return web.Response(text="<html>log in</html>", content_type="image/png")
        case "/cut-off":
            return web.Response(body=PNG[:20])
        case "/huge":
            response = web.StreamResponse(headers={"Content-Length": str(26 * 2**20)})
            await response.prepare(request)
            await response.write(PNG)
            return response
        case "/silent":
            await asyncio.sleep(60)
    raise web.HTTPNotFound


@asynccontextmanager
async def serving(
    database: Database, names: ScriptedNames, *, allow_loopback: bool = True
) -> AsyncIterator[Callable[..., Awaitable[dict[str, str]]]]:
    """Serve images at the host cats.example. Yields a function that returns faults of paths."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    downloader = ImageDownloader(allow_loopback=allow_loopback, timeout_seconds=0.5, resolver=names)
    checks = ImageChecks(database, downloader=downloader)

    async def faults_of(*paths: str, **fields: str) -> dict[str, str]:
        urls = [f"http://cats.example:{port}{path}" for path in paths]
        try:
            await checks.check(image_to_image(image_urls=urls, **fields), "acme")
        except InvalidRequest as refused:
            return {fault.field: fault.message for fault in refused.faults}
        return {}

    try:
        yield faults_of
    finally:
        await checks.close()
        await runner.cleanup()


LOOPBACK = ["127.0.0.1"]


async def test_images_that_answer_are_fine(database: Database) -> None:
    async with serving(database, ScriptedNames(LOOPBACK)) as faults_of:
        assert await faults_of("/cat.png", "/large.png", "/moved") == {}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/dog.png", "answered HTTP 404"),
        ("/page", "text such as SVG or HTML"),
        ("/cut-off", "is cut off"),
        ("/huge", "larger than 25 MiB"),
        ("/silent", "did not answer in time"),
        ("/moved-inside", "which is not public"),
        ("/moved-around", "redirected more than"),
    ],
)
async def test_a_fault_names_the_image(database: Database, path: str, words: str) -> None:
    async with serving(database, ScriptedNames(LOOPBACK)) as faults_of:
        faults = await faults_of("/cat.png", path)
    assert faults.keys() == {"image_urls.1"}
    assert words in faults["image_urls.1"]


async def test_no_address_inside_is_asked_whatever_name_it_has(database: Database) -> None:
    names = ScriptedNames(["127.0.0.1"], ["169.254.169.254"], ["10.0.0.7"])
    async with serving(database, names, allow_loopback=False) as faults_of:
        for _ in range(3):
            faults = await faults_of("/cat.png")
            assert "which is not public" in faults["image_urls.0"]


async def test_a_mask_is_checked_as_well(database: Database) -> None:
    async with serving(database, ScriptedNames(LOOPBACK)) as faults_of:
        faults = await faults_of("/cat.png", mask_url="http://cats.example:1/mask.png")
    assert faults.keys() == {"mask_url"}
    assert "does not answer" in faults["mask_url"]
