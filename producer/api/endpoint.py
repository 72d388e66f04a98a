"""Describes a route: its path, roles, parameters, body and responses; and what its handler gets.

Both the application and the OpenAPI document are built from these descriptions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from producer.api.access.key_budgets import BudgetReservation, KeyBudgets
from producer.api.access.upload_slots import UploadSlots
from producer.billing import Billing
from producer.client import Producer
from producer.keys.key_store import Caller, KeyStore
from producer.keys.revocation_watch import RevocationWatch
from producer.keys.roles import Role
from producer.keys.session_store import SessionStore
from producer.list_pages import DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT, MAX_ROW_ID
from producer.orders.order_batcher import OrderBatcher
from producer.results.thumbnails import Thumbnails
from shared.errors import AccountNotFound, DarkroomError
from shared.retention import RetentionDays

JOB_BODY_BYTES = 512 * 1024
"""Enough for the longest prompt with every character escaped, for 16 of the longest URLs, and for
the metadata."""
UPLOAD_HELD_BYTES = 1024 * 1024
"""The most bytes of an upload that are in memory."""
DATA_URL_BODY_BYTES = 8 * 1024 * 1024
"""The most bytes of an order with `data:` URLs. Larger images are uploaded as files."""
BATCH_BODY_BYTES = 16 * 1024 * 1024
RESPONSE_TIMEOUT_SECONDS = 30.0

ALL_ROLES = frozenset(Role)
WRITE_ROLES = ALL_ROLES - {Role.VIEWER}
"""The roles that may change something that is theirs."""
ADMIN_ONLY = frozenset({Role.ADMIN})
READER_ROLES = ALL_ROLES - {Role.SERVICE}
"""The roles that read every account."""
OPERATOR_ROLES = frozenset({Role.OPERATOR, Role.ADMIN})
"""The roles that see every account."""
ENQUEUE_ROLES = frozenset({Role.SERVICE, Role.ADMIN})
"""The roles that enqueue jobs: a service for its own account, an admin for any account."""


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The objects that handlers use. There is one per process."""

    producer: Producer
    keys: KeyStore
    revocation_watch: RevocationWatch
    """Cancels the open streams and waits of revoked keys."""
    order_batcher: OrderBatcher
    """Enqueues single orders."""
    sessions: SessionStore
    """The logins to the console."""
    budgets: KeyBudgets = field(default_factory=KeyBudgets)
    """Limits the concurrent requests, waits and bytes of each key."""
    uploads: UploadSlots = field(default_factory=UploadSlots)
    """Limits the uploads in progress."""
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    """Makes the thumbnails of images, a few at once."""
    viewers_see_prompts: bool = False
    """The setting `VIEWERS_SEE_PROMPTS`."""
    retention: RetentionDays = field(default_factory=dict)
    """The days of the RETENTION settings, after which data is pruned. Default: nothing is."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process stops. Waiting requests then get their response immediately."""

    @property
    def billing(self) -> Billing:
        """Accounts, prices and the ledger."""
        return self.producer.billing


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request."""

    request: web.Request
    caller: Caller
    context: ApiContext
    reservation: BudgetReservation
    """The part of its key's budget that this request uses."""

    def until_key_revoked(self) -> AbstractAsyncContextManager[None]:
        """Return a context whose block is cancelled, with `KeyRefused`, once the key is revoked."""
        return self.context.revocation_watch.until_revoked(self.caller)


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or a header, as the OpenAPI document describes it."""

    name: str
    schema: Mapping[str, Any]
    description: str
    location: str = "query"


LIMIT = Parameter(
    "limit",
    {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_LIST_LIMIT,
        "default": DEFAULT_LIST_LIMIT,
    },
    "how many at most",
)


ROW_CURSOR = Parameter(
    "cursor",
    {"type": "integer", "minimum": 1, "maximum": MAX_ROW_ID},
    "`next_cursor` of the page before",
)


def _account_not_found(parts: Mapping[str, str]) -> DarkroomError:
    return AccountNotFound(parts["id"][:80])


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route."""

    method: str
    path: str
    handler: Handler
    name: str
    """The operation id, which generated clients use as a name."""
    summary: str
    tag: str
    roles: frozenset[Role] = ALL_ROLES
    parameters: tuple[Parameter, ...] = ()
    path_schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The schemas of the parts of the path in braces. The default is a string."""
    not_found: Callable[[Mapping[str, str]], DarkroomError] = _account_not_found
    """Returns the error for a path whose parts name no row, from these parts."""
    body: str | None = None
    """The name of the body's schema in `producer.api.openapi.component_schemas`, if it has one."""
    body_is_required: bool = True
    body_limit: int = JOB_BODY_BYTES
    chunked_body_limit: int | None = None
    """The limit for a body without a Content-Length. Default: `body_limit`."""
    uploads: Mapping[str, Any] | None = None
    """The schemas of a body that is not JSON, by content type. It is read as a stream."""
    responses: Mapping[int, str | None] = field(default_factory=dict)
    """The name of the schema of each successful status, or None without a body."""
    response_headers: tuple[str, ...] = ()
    """Headers of successful responses, by their names in `producer.api.openapi.document`."""
    problems: tuple[int, ...] = ()
    """The error statuses of this route, in addition to those that every route has."""
    response_type: str = "application/json"
    is_stream: bool = False
    """Whether the response is a stream of events."""
    is_download: bool = False
    """Whether the response is a file, which may take long to send."""
    supports_wait: bool = False
    """Whether the query parameter `wait` delays the response."""
    always_waits: bool = False
    """Whether every request waits for the end of a job."""
    max_response_bytes: int = 0
    """The most bytes that the response of a list has."""
    timeout_seconds: float = RESPONSE_TIMEOUT_SECONDS
    description: str = ""

    @property
    def is_read_only(self) -> bool:
        """Whether a request changes nothing."""
        return self.method == "GET"
