"""Uses the console as a browser does, without one: cookies, forms with their tokens, redirects."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from tests.support.api_client import ApiClient

Fields = Mapping[str, str] | Sequence[tuple[str, str]]
"""The fields of a form. Pairs may name a field several times."""
_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


@dataclass(frozen=True, slots=True)
class ConsoleAnswer:
    """One answer, read to its end. Redirects are not followed."""

    status: int
    headers: Mapping[str, str]
    text: str

    def expect(self, status: int) -> str:
        """Return the text, or fail unless the status is this one."""
        assert self.status == status, f"{self.status}: {self.text[-3000:]}"
        return self.text

    @property
    def location(self) -> str:
        """Where a redirect leads."""
        assert self.status == 303, f"{self.status}: {self.text[-3000:]}"
        return self.headers["Location"]


class ConsoleClient:
    """A browser with its cookies."""

    def __init__(self, session: aiohttp.ClientSession, origin: str) -> None:
        self.session = session
        self.origin = origin

    async def get(self, path: str, **headers: str) -> ConsoleAnswer:
        """Open a page; headers by their names with underscores."""
        return await self._send("GET", path, None, _named(headers))

    async def post(
        self, path: str, fields: Mapping[str, str] | None = None, **headers: str
    ) -> ConsoleAnswer:
        """Send a form of this console, with a token of this session unless the fields have one."""
        given = dict(fields or {})
        if "form_token" not in given:
            given["form_token"] = await self.form_token()
        return await self.send_form(path, given, **{"Origin": self.origin, **headers})

    async def send_form(self, path: str, fields: Fields, **headers: str) -> ConsoleAnswer:
        """Send exactly these fields and headers."""
        return await self._send("POST", path, fields, _named(headers))

    async def form_token(self) -> str:
        """Return a token of this session, or an empty text without one."""
        page = await self.get("/console/sessions")
        found = _TOKEN.search(page.text)
        return found[1] if found else ""

    async def log_in(self, key: str, **fields: str) -> ConsoleAnswer:
        """Log in with a key."""
        return await self.send_form("/console/login", {"key": key, **fields}, Origin=self.origin)

    async def _send(
        self,
        method: str,
        path: str,
        fields: Fields | None,
        headers: Mapping[str, str],
    ) -> ConsoleAnswer:
        async with self.session.request(
            method, path, data=fields, headers=headers, allow_redirects=False
        ) as response:
            return ConsoleAnswer(response.status, response.headers, await response.text())


@asynccontextmanager
async def browsing(api: ApiClient, key: str | None = None) -> AsyncIterator[ConsoleClient]:
    """Open a browser with no cookies on the API of a test, logged in with a key if given."""
    origin = str(api.session._base_url).rstrip("/")
    jar = aiohttp.CookieJar(unsafe=True)  # accepts cookies of an address without a name
    async with aiohttp.ClientSession(origin, cookie_jar=jar) as session:
        browser = ConsoleClient(session, origin)
        if key is not None:
            (await browser.log_in(key)).expect(303)
        yield browser


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
