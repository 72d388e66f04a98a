"""Browser windows that remember everything that went wrong in them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    StorageState,
)

from producer.keys.roles import Role

Theme = Literal["dark", "light"]
_AXE = Path(__file__).with_name("axe") / "axe.min.js"
_SECONDS = 15.0
_IMPACTS = {"serious", "critical"}
_TOO_WIDE = """() => [...document.querySelectorAll('body *')]
  .filter(one => one.getBoundingClientRect().right > window.innerWidth + 1)
  .slice(0, 5).map(one => one.outerHTML.slice(0, 120))"""
_SCROLLS_SIDEWAYS = "() => document.documentElement.scrollWidth > window.innerWidth"
_REPORT_VIOLATIONS = """addEventListener('securitypolicyviolation', event => console.error(
  `CSP: ${event.violatedDirective} blocked ${event.blockedURI} ${event.sample}`))"""
_RUN_AXE = """() => axe.run(document, {resultTypes: ['violations']}).then(result =>
  result.violations.map(rule => ({
    id: rule.id, impact: rule.impact, help: rule.help,
    where: rule.nodes.slice(0, 5).map(one => one.html)})))"""


class BrowsedSystem(Protocol):
    """The system at which windows look, and who has logged in there."""

    url: str
    logins: dict[Role, StorageState]

    async def key_of(self, role: Role) -> str:
        """Return the API key of this role."""
        ...


@cache
def _axe_source() -> str:
    return _AXE.read_text("utf-8")


class Window:
    """One page in a browser of its own, and what went wrong in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.faults: list[str] = []
        self._allowed: set[int] = set()
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self._note(f"script error: {error}"))
        page.on("requestfailed", self._note_failed)
        page.on("response", self._note_response)

    async def open(self, path: str) -> Page:
        """Open a page of the system."""
        await self.page.goto(self.url + path)
        return self.page

    def allow_status(self, *statuses: int) -> None:
        """Expect these answers, which are faults otherwise."""
        self._allowed.update(statuses)

    async def check_width(self) -> None:
        """Note a page that is wider than the window."""
        if await self.page.evaluate(_SCROLLS_SIDEWAYS):
            self._note(f"wider than the window: {await self.page.evaluate(_TOO_WIDE)}")

    async def check_accessibility(self) -> None:
        """Note what axe finds serious or critical on the page."""
        # Scripts of the debugging protocol run beside the page's policy, which stays as it is.
        if not await self.page.evaluate("() => 'axe' in window"):
            await self.page.evaluate(_axe_source())
        rules: list[dict[str, Any]] = await self.page.evaluate(_RUN_AXE)
        for rule in rules:
            if rule["impact"] in _IMPACTS:
                self._note(f"axe, {rule['impact']}: {rule['id']}: {rule['help']}: {rule['where']}")

    def _note(self, fault: str) -> None:
        self.faults.append(f"{self.page.url}: {fault}")

    def _note_console(self, message: ConsoleMessage) -> None:
        # A refused request is noted as the response that it is.
        if message.type in {"error", "warning"} and "status of" not in message.text:
            self._note(f"console {message.type}: {message.text}")

    def _note_failed(self, request: Request) -> None:
        # What a page still loads ends when the page is left; so does its navigation to a download.
        if request.failure != "net::ERR_ABORTED":
            self._note(f"{request.method} {request.url} failed: {request.failure}")

    def _note_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self._allowed:
            self._note(f"{response.request.method} {response.url} answers {response.status}")


class Windows:
    """Opens the windows of one test."""

    def __init__(
        self, browser: Browser, system: BrowsedSystem, user_agent: str | None = None
    ) -> None:
        self._browser = browser
        self._user_agent = user_agent
        self._system = system
        self._open: list[tuple[BrowserContext, Window]] = []

    async def open(
        self,
        role: Role | None = None,
        *,
        theme: Theme = "dark",
        width: int = 1280,
        height: int = 800,
        **options: Any,
    ) -> Window:
        """Open a window of this size and theme, in which this role is logged in."""
        if role is not None:
            options["storage_state"] = await self._login_of(role)
        context = await self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            # A colour that is still changing has the contrast of neither theme.
            reduced_motion="reduce",
            # Without one it follows LANG, which may name a locale that no browser of a person has.
            locale="en-US",
            user_agent=self._user_agent,
            **options,
        )
        context.set_default_timeout(_SECONDS * 1000)
        await context.add_init_script(_REPORT_VIOLATIONS)
        window = Window(await context.new_page(), self._system.url)
        self._open.append((context, window))
        return window

    async def _login_of(self, role: Role) -> StorageState:
        """Return the cookies of this role. It logs in once, by the form."""
        logins = self._system.logins
        if role not in logins:
            key = await self._system.key_of(role)
            page = await (await self.open()).open("/console/login")
            await page.get_by_label("API key").fill(key)
            await page.get_by_role("button", name="Log in").click()
            await page.get_by_role("button", name="Log out").wait_for()
            logins[role] = await page.context.storage_state()
        return logins[role]

    async def close(self) -> list[str]:
        """Close all, and return what went wrong in any."""
        for context, _ in self._open:
            await context.close()
        return [fault for _, window in self._open for fault in window.faults]
