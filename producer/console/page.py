"""Describes pages and actions of the console: paths, roles, handlers; and what a handler gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from producer.actor import Actor
from producer.api.endpoint import ApiContext
from producer.billing import Billing
from producer.client import Producer
from producer.console.sessions.login_attempts import LoginAttempts
from producer.console.sessions.visitor import Visitor
from producer.keys.roles import Role
from producer.keys.session_store import SessionStore
from shared.adapters.http.forwarding import client_address
from shared.adapters.monitoring.alert_monitor import AlertMonitor
from shared.adapters.postgres.database import Queries

CONSOLE = "/console"
VIEWERS = frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})
"""The roles that may use the console, and see a page unless it says otherwise."""
OPERATORS = frozenset({Role.OPERATOR, Role.ADMIN})
ADMINS = frozenset({Role.ADMIN})


@dataclass(frozen=True, slots=True)
class ConsoleContext:
    """The objects that handlers of pages use. There is one per process."""

    api: ApiContext
    queries: Queries
    """Runs named queries, for what no method of `Producer` reads."""
    alerts: AlertMonitor
    image_hosts: tuple[str, ...] = ()
    """Hosts, with a port if needed, from which pages show images."""

    @property
    def login_attempts(self) -> LoginAttempts:
        """The logins that failed."""
        return LoginAttempts(self.queries)

    @property
    def sessions(self) -> SessionStore:
        """The logins."""
        return self.api.sessions


@dataclass(frozen=True, slots=True)
class PageCall:
    """One request of a visitor who may see the page or perform the action."""

    request: web.Request
    visitor: Visitor
    context: ConsoleContext
    form: Mapping[str, str] = field(default_factory=dict)
    """The fields of a POST. A field that is sent several times has its last value."""
    form_lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """All values of each field of a POST, for fields such as check boxes."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with fields of a refused POST, by field. Empty on a GET."""
    error: str | None = None
    """Why a POST was refused, or None."""

    @property
    def producer(self) -> Producer:
        """The Python client, whose methods the HTTP handlers call as well."""
        return self.context.api.producer

    @property
    def billing(self) -> Billing:
        """Accounts, prices and the ledger."""
        return self.context.api.producer.billing

    @property
    def actor(self) -> Actor:
        """The visitor as the actor of audit entries."""
        caller = self.visitor.caller
        return Actor(
            f"console:{caller.key_prefix or 'loopback'}",
            via="console",
            is_operator=True,
            key_prefix=caller.key_prefix,
            key_role=caller.role.value if caller.key_prefix is not None else None,
            origin=client_address(self.request),
        )

    @property
    def sees_prompts(self) -> bool:
        """Whether the visitor may see prompts, images and metadata."""
        return self.visitor.caller.role is not Role.VIEWER or self.context.api.viewers_see_prompts

    @property
    def shows_copies(self) -> bool:
        """Whether this process can read the copies of images."""
        return self.producer.stored_images.options.url is not None

    @property
    def now(self) -> datetime:
        """The time at which the handler reads it."""
        return datetime.now(UTC)

    @property
    def url(self) -> str:
        """The path of the request with its query."""
        return self.request.path_qs

    def part(self, name: str) -> str:
        """Return a part of the path in braces."""
        return self.request.match_info[name]

    def query(self, name: str) -> str | None:
        """Return a query parameter without surrounding spaces, or None if missing or empty."""
        return (self.request.query.get(name) or "").strip() or None


@dataclass(frozen=True, slots=True)
class PageView:
    """A page to render: the template of `templates/`, and the values of its variables."""

    template: str
    values: Mapping[str, Any]
    title: str | None = None
    """The title of the page. None means the title of the table."""
    status: int = 200


@dataclass(frozen=True, slots=True)
class Redirect:
    """Leads to another page of the console, after an action. The page shows the notice once."""

    path: str
    """Begins with `/console`."""
    notice: str | None = None


PageHandler = Callable[[PageCall], Awaitable[PageView | Redirect | web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page, which a GET shows. It changes nothing."""

    name: str
    path: str
    """Below `/console`; the overview has an empty path."""
    title: str
    handler: PageHandler
    roles: frozenset[Role] = VIEWERS
    nav: str | None = None
    """The name in the navigation, in the order of the table. None: not listed there."""
    icon: str = "dot"
    """The icon in the navigation, by its name in `templates/icons.html`."""
    section: str | None = None
    """The name of the page that the navigation marks as current. None means this page."""
    is_stream: bool = False
    """Whether the response is a stream of events."""
    uses_plots: bool = False
    """Whether the page loads the scripts for plots."""
    is_file: bool = False
    """Whether the response is a file. Its handler limits how long it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A change, which a POST makes.

    If `form` is given, a GET of the same path shows it, such as a confirmation. A POST that is
    refused shows it again with `PageCall.faults`, `PageCall.error` and `PageCall.form`.
    """

    name: str
    path: str
    title: str
    handler: PageHandler
    roles: frozenset[Role]
    form: PageHandler | None = None
    section: str | None = None
    uses_plots: bool = False
