"""Takes a picture of each page of the console, dark, light and on a phone: `make screenshots`."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, ViewportSize, async_playwright, expect
from pydantic import SecretStr

from producer.console import page_table
from producer.jobs.job_filter import JobFilter
from producer.keys.roles import Role
from producer.monitoring.overview import Overview
from shared.adapters.embedded import acquire_servers
from shared.domain.lifecycle import JobState
from tests.browser.browser_windows import Windows
from tests.browser.console_addresses import address_of
from tests.browser.running_system import RunningSystem, running_system
from tests.screenshots.filled_system import KIE_CREDITS, OPERATOR, enqueue_orders, fill
from tests.screenshots.planned_orders import PlannedOrder, plan_orders
from tests.screenshots.waiting_orders import (
    place_scheduled_orders,
    place_waiting_orders,
)
from tests.support.chromium import CHROMIUM_SWITCHES, bring_chromium
from tests.support.database_pool import open_pool
from tests.support.deployment import Deployment, eventually, fast_simulator_config

_BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/153.0.0.0"
_LOOKS: dict[str, dict[str, Any]] = {
    "dark": {"theme": "dark", "width": 1440, "height": 900},
    "light": {"theme": "light", "width": 1440, "height": 900},
    "phone": {"theme": "dark", "width": 390, "height": 844, "is_mobile": True, "has_touch": True},
}
_HEIGHT_MAX = 1800
_FIRST_HEIGHT = 1145
"""The figures and the plots of the overview, for the first screen of README.md."""
_WHOLE_HEIGHT = 2600
"""All of the overview, with the Kie accounts below its plots."""
_COLOURS = 160
_AT_KIE = 7
"""The jobs that run while the pictures are taken."""
WAITING = "waiting"
"""Names the pictures of waiting jobs in `--only`."""
_WAITING_JOBS = "/console/jobs?state=queued&scheduled=false"
_PATHS = {"many_jobs": "/console/jobs/many/retry?state=failed&reason=provider_failed"}
"""Where a page shows more than at its own address."""
_ASKED_SECONDS = 90.0
"""Kie's catalogue is asked one question a second."""
_SAID_MILLISECONDS = 60_000
"""Live updates bring an alert within this time."""
_IS_DRAWN = """() => document.readyState === 'complete'
  && [...document.images].every(
    one => (one.complete && (one.naturalWidth || 'gone' in one.dataset))
      || one.getBoundingClientRect().top > window.innerHeight)
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
    with (
        acquire_servers(home, linger_seconds=0, fsync=False) as servers,
        closing(await open_pool(str(servers.database_url))) as databases,
    ):
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
            album = _Album(Windows(browser, system, user_agent=_BROWSER), folder, ids)
            await _picture_system(system, album, only)
            faults = await album.windows.close()
            sys.stderr.writelines(f"{fault}\n" for fault in faults)
            return 1 if faults else 0


async def _picture_system(system: RunningSystem, album: _Album, only: Sequence[str]) -> None:
    """Take the pictures while all is well, while Kie answers 402, and while no worker lives."""
    deployment = system.deployment
    orders = [one for one in plan_orders() if one.end == "success"]

    async def overview_shows(is_shown: Callable[[Overview], bool]) -> bool:
        return is_shown(await deployment.producer.overview())

    async def wait_for_overview(is_shown: Callable[[Overview], bool], what: str) -> None:
        await eventually(partial(overview_shows, is_shown), what)

    async def is_kie_asked() -> bool:
        told = await deployment.producer.kie.models()
        return bool(told) and all(one.rated_at is not None for one in told)

    deployment.simulator.set_faults(duration=900.0)
    async with deployment.worker():
        await enqueue_orders(deployment, orders[:_AT_KIE], "success", key_suffix="-now")
        await wait_for_overview(
            lambda seen: (
                seen.workers_alive == 1
                and seen.snapshot.generating >= _AT_KIE
                and any(one.balance is not None for one in seen.accounts)
            ),
            "a worker lives, and all is submitted",
        )
        await eventually(is_kie_asked, "Kie is asked about each model", _ASKED_SECONDS)
        await album.picture_pages(only)
        if WAITING in only:
            await _picture_waiting(deployment, album, orders[30:])
        if only:
            return
        await _picture_pauses(deployment, album)
        await _picture_route(deployment, album, orders)
        deployment.simulator.set_faults(submit_code=402)
        await enqueue_orders(deployment, orders[_AT_KIE:30], "success", key_suffix="-now")
        await _until_alert(deployment, "Kie answered 402")
        await album.picture("/console", "overview-kie-402", "dark", said="Kie answered 402")
        deployment.simulator.set_faults(submit_code=0)
        await deployment.producer.brakes.end("studio", reason="topped up", actor=OPERATOR)
    await enqueue_orders(deployment, orders[30:50], "success", key_suffix="-now")
    await _until_alert(deployment, "no worker is running")
    await album.picture("/console", "overview-no-worker", "dark", said="no worker is running")
    async with deployment.worker():
        await _picture_waiting(deployment, album, orders[50:])


async def _until_alert(deployment: Deployment, said: str) -> None:
    """Wait for the alert. One that comes after the page was opened is shown behind a button."""

    async def is_told() -> bool:
        alerts = (await deployment.producer.overview()).alerts
        return any(said.lower() in one.detail.lower() for one in alerts)

    await eventually(is_told, f"an alert says {said}")


async def _picture_pauses(deployment: Deployment, album: _Album) -> None:
    """Take the pictures of the pauses while an account is paused."""
    pause = await deployment.producer.pauses.pause(
        "account", "riverside-museum", reason="their prompts change", actor=OPERATOR
    )
    for look in _LOOKS:
        await album.picture("/console/pauses", f"pauses-{look}", look)
    await deployment.producer.pauses.resume(pause.id, actor=OPERATOR)


async def _picture_waiting(
    deployment: Deployment, album: _Album, orders: Sequence[PlannedOrder]
) -> None:
    """Take the pictures of waiting and scheduled jobs, and of a Kie that accepts fewer."""
    producer = deployment.producer
    placed = await place_waiting_orders(deployment, orders)
    await place_scheduled_orders(deployment, orders, datetime.now(UTC))

    async def is_slow() -> bool:
        return any(one.slowed for one in (await producer.overview()).accounts)

    async def is_open() -> bool:
        return bool((await producer.page(JobFilter(state=(JobState.GENERATING,)), limit=1)).jobs)

    await eventually(is_open, "a job is at Kie")
    [at_kie] = (await producer.page(JobFilter(state=(JobState.GENERATING,)), limit=1)).jobs
    await producer.cancel(at_kie.id, actor=OPERATOR)
    for look in _LOOKS:
        await album.picture(_WAITING_JOBS, f"jobs-waiting-{look}", look, said="queued")
        # Directly before the picture: after some seconds the limit is the old one again.
        deployment.simulator.set_faults(submit_code=429)
        await eventually(is_slow, "Kie refuses submits")
        deployment.simulator.set_faults(submit_code=0)
        name = f"overview-waiting-{look}"
        await album.picture("/console", name, look, said="rate limited", height_max=_WHOLE_HEIGHT)
        waiting = f"/console/jobs/{placed['low'][-1].id}"
        await album.picture(waiting, f"job-waiting-{look}", look, said="Position")
    await album.picture(f"/console/jobs/{at_kie.id}", "job-cancel-requested", "dark")


async def _picture_route(
    deployment: Deployment, album: _Album, orders: Sequence[PlannedOrder]
) -> None:
    """Take the pictures of a model that is sent by another family, and of a job that waits."""
    pairs = [one for one in orders if one.request.price_quantity == 2]
    # Once the route is chosen, the order would be refused.
    at = datetime.now(UTC) + timedelta(seconds=2)
    [job] = await enqueue_orders(deployment, pairs[:1], "success", key_suffix="-later", run_at=at)
    models, reason = deployment.producer.models, "its endpoint answers 404"
    await models.route(job.model, "4o-image-api", reason=reason, actor=OPERATOR)
    await album.picture(
        f"/console/jobs/{job.id}", "job-route-unfit", "dark", said="a family that cannot carry it"
    )
    await album.picture("/console/models", "models-routed", "dark")
    await models.route(job.model, job.model, actor=OPERATOR)


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
            if (
                page.is_stream
                or page.is_file
                or page.name == "pauses"
                or (only and page.name not in only)
            ):
                continue
            for look in _LOOKS:
                path = _PATHS.get(page.name) or address_of(page, self._ids)
                await self.picture(path, f"{page.name}-{look}", look)
                if page.name == "overview" and look != "phone":
                    await self.picture(path, f"console-{look}", look, height_max=_FIRST_HEIGHT)

    async def picture(
        self, path: str, name: str, look: str, *, said: str = "", height_max: int = _HEIGHT_MAX
    ) -> None:
        """Take one picture once the page says `said`, and write it with a palette.

        A palette takes a third of the bytes and looks the same.
        """
        window = await self.windows.open(Role.ADMIN, **_LOOKS[look])
        page = await window.open(path)
        await expect(page.get_by_role("main")).to_contain_text(
            said, ignore_case=True, timeout=_SAID_MILLISECONDS
        )
        # Images below the window are loaded when they are scrolled to.
        height = await page.evaluate("() => document.documentElement.scrollHeight")
        size = ViewportSize(width=_LOOKS[look]["width"], height=min(height, height_max))
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
