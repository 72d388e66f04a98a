"""Renders pages with Jinja, and adds the headers that every page of the console has."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from urllib.parse import quote, unquote

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from producer.console.image_sources import ImageSources
from producer.console.page import CONSOLE, Action, Page, PageCall, PageView
from producer.console.static_files import StaticFile, accepts_gzip
from producer.console.text_filters import FILTERS
from producer.keys.roles import Role
from producer.pauses import Pause
from shared.adapters.http.forwarding import root_path_of
from shared.adapters.http.slow_readers import PacedResponse

_OWN_LINKS = re.compile(
    r'\s(?:href|src|action|formaction|hx-get|hx-post|data-(?:href|live|path|plots-source))="(?=/[^/])'
)
"""The attributes that hold a link, before one that begins with a slash."""
THEME_COOKIE = "darkroom_theme"
NOTICE_COOKIE = "darkroom_notice"
_THEMES = frozenset({"dark", "light"})
_NOTICE_LENGTH = 500
_NOTICE_SECONDS = 30
_GZIP_LEVEL = 4
"""A higher level saves a tenth more, and takes twice as long."""


@dataclass(frozen=True, slots=True)
class PageFrame:
    """What the layout shows around every page. Templates know it as `page`."""

    title: str
    section: str
    """The name of the page that the navigation marks as current."""
    url: str
    """The path of the request with its query."""
    theme: str | None
    """`dark` or `light` if the visitor chose one."""
    notice: str | None
    """What the action before has done."""
    error: str | None
    uses_plots: bool
    call: PageCall | None
    """None on pages without a visitor, such as the login."""
    now: datetime
    pauses: Sequence[Pause] = ()
    """The active pauses, which every page names. Empty on error pages."""

    @property
    def form_token(self) -> str:
        """A token for one form."""
        return "" if self.call is None else self.call.visitor.make_form_token()

    def may(self, roles: frozenset[Role]) -> bool:
        """Return whether the visitor has one of these roles."""
        return self.call is not None and self.call.visitor.caller.role in roles


class PageRenderer:
    """Renders the templates of `producer/console/templates`."""

    def __init__(
        self,
        pages: Sequence[Page],
        actions: Sequence[Action],
        static_files: Iterable[StaticFile],
        images: ImageSources,
    ) -> None:
        self._nav = [page for page in pages if page.nav is not None]
        self._roles_of_action = {action.name: action.roles for action in actions}
        urls = tuple((file.name, file.url) for file in static_files)
        self._environment = _template_environment(urls, images)
        self._headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": content_security_policy(images),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            # `no-referrer` would make browsers send `Origin: null` with the console's own forms.
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Vary": "Accept-Encoding",
            "X-Frame-Options": "DENY",
        }

    def render(
        self,
        request: web.Request,
        view: PageView,
        *,
        title: str,
        section: str,
        call: PageCall | None,
        uses_plots: bool = False,
        pauses: Sequence[Pause] = (),
    ) -> web.Response:
        """Return the page as a response. A notice of the action before is shown once."""
        notice = request.cookies.get(NOTICE_COOKIE)
        theme = request.cookies.get(THEME_COOKIE)
        frame = PageFrame(
            title=view.title or title,
            section=section,
            url=request.path_qs,
            theme=theme if theme in _THEMES else None,
            notice=unquote(notice)[:_NOTICE_LENGTH] if notice else None,
            error=call.error if call is not None else None,
            uses_plots=uses_plots,
            call=call,
            now=datetime.now(UTC),
            pauses=pauses,
        )
        role = call.visitor.caller.role if call is not None else None
        text = self._environment.get_template(view.template).render(
            {
                **view.values,
                "page": frame,
                "call": call,
                "nav": [one for one in self._nav if role in one.roles],
                "may": {name: role in roles for name, roles in self._roles_of_action.items()},
            }
        )
        text = add_root_path(text, root_path_of(request))
        # Stored texts may have lone surrogates, which UTF-8 cannot encode.
        response = self._compressed(request, text.encode(errors="replace"), view.status)
        if notice:
            response.del_cookie(NOTICE_COOKIE, path=CONSOLE, httponly=True, samesite="Lax")
        return response

    def _compressed(self, request: web.Request, body: bytes, status: int) -> web.Response:
        """Return the page, compressed if the client accepts that.

        The length of a compressed page reveals texts that a request repeats. The form tokens are
        different on each page, so their texts are not revealed.
        """
        headers = dict(self._headers)
        if accepts_gzip(request):
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return PacedResponse(
            body=body, status=status, content_type="text/html", charset="utf-8", headers=headers
        )


@cache
def _template_environment(urls: tuple[tuple[str, str], ...], images: ImageSources) -> Environment:
    """Return the environment of templates. To compile those of one page takes a fifth of a second.

    `urls` are the names and URLs of static files.
    """
    environment = Environment(
        loader=PackageLoader("producer.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(FILTERS)
    environment.globals.update(
        console=CONSOLE, static=dict(urls).__getitem__, shows_image=images.allows
    )
    return environment


def add_root_path(page: str, root_path: str) -> str:
    """Return the page with the root path in its links, forms and sources of scripts.

    In texts every quote is escaped, so they have nothing that looks like an attribute.
    """
    return _OWN_LINKS.sub(rf"\g<0>{root_path}", page) if root_path else page


def redirect_response(path: str, notice: str | None = None) -> web.Response:
    """Return a response that leads to a page by GET, which shows the notice."""
    response = web.Response(status=303, headers={"Location": path, "Cache-Control": "no-store"})
    if notice:
        response.set_cookie(
            NOTICE_COOKIE,
            quote(notice[:_NOTICE_LENGTH]),
            path=CONSOLE,
            max_age=_NOTICE_SECONDS,
            httponly=True,
            samesite="Lax",
        )
    return response


def content_security_policy(images: ImageSources) -> str:
    """Return the policy of all pages: nothing of other servers but images of the given hosts."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        f" img-src {images.policy}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
