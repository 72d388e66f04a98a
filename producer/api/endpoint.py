"""What a route of the API is: one row says how to reach it, who may, and what it takes and gives.

The application is built from these rows, and so is the OpenAPI document: there is no second list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from producer.api.key_budgets import BudgetReservation, KeyBudgets
from producer.billing import Billing
from producer.client import Producer
from producer.keys.key_store import Caller, KeyStore, Role
from producer.keys.revocation_watch import RevocationWatch
from producer.orders.order_batcher import OrderBatcher
from shared.errors import AccountNotFound, DarkroomError

JOB_BODY_BYTES = 256 * 1024
"""Enough for the longest prompt with every character escaped, and the notes."""
BATCH_BODY_BYTES = 16 * 1024 * 1024
RESPONSE_TIMEOUT_SECONDS = 30.0

ALL_ROLES = frozenset(Role)
ADMIN_ONLY = frozenset({Role.ADMIN})
ENQUEUE_ROLES = frozenset({Role.SERVICE, Role.ADMIN})
"""Who places jobs: a service for its own account, an admin for any."""


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The rooms behind the counter."""

    producer: Producer
    keys: KeyStore
    revocation_watch: RevocationWatch
    """Ends what is open under a key that was revoked."""
    order_batcher: OrderBatcher
    """Where single orders are placed."""
    budgets: KeyBudgets = field(default_factory=KeyBudgets)
    """What each key may have under way."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process is told to stop: who waits is answered at once."""

    @property
    def billing(self) -> Billing:
        """Accounts, prices and the ledger."""
        return self.producer.billing


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was let in: who asks, and what."""

    request: web.Request
    caller: Caller
    context: ApiContext
    reservation: BudgetReservation
    """Its part of what its key may have under way."""

    def until_key_revoked(self) -> AbstractAsyncContextManager[None]:
        """Return a context whose block is cancelled, with `KeyRefused`, once the key is revoked."""
        return self.context.revocation_watch.until_revoked(self.caller)


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query or a header, as the document describes it."""

    name: str
    schema: Mapping[str, Any]
    description: str
    location: str = "query"


def _account_not_found(parts: Mapping[str, str]) -> DarkroomError:
    return AccountNotFound(parts["id"][:80])


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route."""

    method: str
    path: str
    handler: Handler
    name: str
    """The operation's id, as generated clients call it."""
    summary: str
    tag: str
    roles: frozenset[Role] = ALL_ROLES
    parameters: tuple[Parameter, ...] = ()
    path_schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The schema of each part of the path in braces; a string unless said here."""
    not_found: Callable[[Mapping[str, str]], DarkroomError] = _account_not_found
    """Returns the error for a path whose parts name no row, from these parts."""
    body: str | None = None
    """The name of the body's schema in `producer.api.openapi.component_schemas`; None: no body."""
    body_limit: int = JOB_BODY_BYTES
    responses: Mapping[int, str | None] = field(default_factory=dict)
    """Per good status the name of its schema; None: no body."""
    response_headers: tuple[str, ...] = ()
    """The names of headers that a good answer may have, as in `producer.api.openapi.document`."""
    problems: tuple[int, ...] = ()
    """The statuses it refuses with, beside those that every route has."""
    response_type: str = "application/json"
    is_stream: bool = False
    """Whether it answers for as long as the caller listens."""
    supports_wait: bool = False
    """Whether `wait` has it answer later."""
    max_response_bytes: int = 0
    """How much a list may read and send."""
    timeout_seconds: float = RESPONSE_TIMEOUT_SECONDS
    description: str = ""

    @property
    def is_read_only(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"
