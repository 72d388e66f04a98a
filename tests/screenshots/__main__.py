"""Takes a picture of each page of the console, dark, light and on a phone: `make screenshots`."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, ViewportSize, async_playwright
from pydantic import SecretStr

from producer.console import page_table
from producer.keys.key_store import Role
from shared.adapters.embedded import acquire_servers
from tests.browser.browser_windows import Windows
from tests.browser.console_addresses import address_of
from tests.browser.running_system import RunningSystem, running_system
from tests.screenshots.filled_system import KIE_CREDITS, enqueue_orders, fill
from tests.screenshots.planned_orders import plan_orders
from tests.support.chromium import CHROMIUM_SWITCHES, bring_chromium
from tests.support.database_pool import open_pool
from tests.support.deployment import eventually, fast_simulator_config

_LOOKS: dict[str, dict[str, Any]] = {
    "dark": {"theme": "dark", "width": 1440, "height": 900},
    "light": {"theme": "light", "width": 1440, "height": 900},
    "phone": {"theme": "dark", "width": 390, "height": 844, "is_mobile": True, "has_touch": True},
}
_HEIGHT_MAX = 1800
_COLOURS = 160
_IS_DRAWN = """() => document.readyState === 'complete'
  && [...document.images].every(
    one => one.complete || one.getBoundingClientRect().top > window.innerHeight)
  && [...document.querySelectorAll('[data-plot], [data-plot-name]')]
    .every(one => one.querySelector('canvas, p'))
  && !document.querySelector('[hx-trigger="load"]')"""


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FOLDER", default=Path("docs/images"))
    parser.add_argument("--only", nargs="*", default=[], metavar="PAGE", help="by their names")
    given = parser.parse_args()
    given.write.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        sys.exit(asyncio.run(_take_pictures(Path(home), given.write, given.only)))


async def _take_pictures(home: Path, folder: Path, only: Sequence[str]) -> int:
    with acquire_servers(home, linger_seconds=0, fsync=False) as servers:
        assert servers.database_url is not None
        databases = await open_pool(servers.database_url)
        config = fast_simulator_config(starting_credits=KIE_CREDITS)
        keys = SecretStr(f"studio={config.api_key}")
        async with (
            running_system(
                servers,
                databases,
                home,
                config,
                kie_api_key=None,
                kie_api_keys=keys,
                kie_submits_per_10_seconds=20,
            ) as system,
            _chromium() as browser,
        ):
            ids = await fill(system.deployment, datetime.now(UTC))
            album = _Album(Windows(browser, system), folder, ids)
            await _picture_system(system, album, only)
            faults = await album.windows.close()
            sys.stderr.writelines(f"{fault}\n" for fault in faults)
            return 1 if faults else 0


async def _picture_system(system: RunningSystem, album: _Album, only: Sequence[str]) -> None:
    """Take the pictures while a worker runs, with some jobs at Kie."""
    deployment = system.deployment
    deployment.simulator.set_faults(duration=900.0)
    async with deployment.worker():
        orders = [one for one in plan_orders() if one.end == "success"][:17]
        await enqueue_orders(deployment, orders, "success", key_suffix="-now")

        async def all_are_at_kie() -> bool:
            seen = await deployment.producer.overview()
            is_known = any(one.balance is not None for one in seen.accounts)
            return is_known and seen.workers_alive == 1 and seen.snapshot.generating >= len(orders)

        await eventually(all_are_at_kie, "a worker lives, and all is submitted", 30)
        await album.picture_pages(only)


class _Album:
    """Takes the pictures of one system."""

    def __init__(
        self, windows: Windows, folder: Path, ids: Mapping[str, Mapping[str, str]]
    ) -> None:
        self.windows = windows
        self._folder = folder
        self._ids = ids

    async def picture_pages(self, only: Sequence[str]) -> None:
        """Take a picture of each page in each look."""
        for page in page_table.PAGES:
            if page.is_stream or page.is_file or (only and page.name not in only):
                continue
            for look in _LOOKS:
                path = address_of(page, self._ids)
                await self.picture(path, f"{page.name}-{look}", look)

    async def picture(self, path: str, name: str, look: str) -> None:
        """Take one picture, and write it with a palette: a third of the bytes, the same look."""
        window = await self.windows.open(Role.ADMIN, **_LOOKS[look])
        page = await window.open(path)
        # Images below the window are loaded when they are scrolled to.
        height = await page.evaluate("() => document.documentElement.scrollHeight")
        size = ViewportSize(width=_LOOKS[look]["width"], height=min(height, _HEIGHT_MAX))
        await page.set_viewport_size(size)
        await page.wait_for_function(_IS_DRAWN)
        taken = await page.screenshot(animations="disabled")
        with Image.open(io.BytesIO(taken)) as picture:
            drawn = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
            drawn.save(self._folder / f"{name}.png", optimize=True)


@asynccontextmanager
async def _chromium() -> AsyncIterator[Browser]:
    brought = bring_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=brought.executable,
            args=CHROMIUM_SWITCHES,
            env={**os.environ, **brought.environ},
        )
        yield browser
        await browser.close()


if __name__ == "__main__":
    main()
