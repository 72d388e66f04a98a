"""A Darkroom in memory: its HTTP API on a real port, without Postgres, Redis and Kie."""

from __future__ import annotations

import re
import secrets
import string
import threading
from collections.abc import Sequence
from decimal import Decimal
from types import TracebackType
from typing import Self

from darkroom_client.client import Darkroom
from darkroom_client.testing.account_routes import AccountRoutes
from darkroom_client.testing.accounts import Accounts
from darkroom_client.testing.http_server import (
    HttpServer,
    MemoryRequest,
    MemoryResponse,
    Route,
)
from darkroom_client.testing.job_routes import JobRoutes
from darkroom_client.testing.jobs import Jobs
from darkroom_client.testing.problem import Refusal
from darkroom_client.testing.scripted_kie import ScriptedKie
from darkroom_client.testing.webhooks.webhook_routes import WebhookRoutes
from darkroom_client.testing.webhooks.webhook_sender import SentWebhook, WebhookSender

_IMAGES = "/kie/images/"
_KEY = re.compile("dk_[a-zA-Z0-9]{12}_[a-zA-Z0-9]{43}")
_KEY_MISSING = "an API key is needed; send it in the header `Authorization: Bearer dk_...`"
_KEY_MALFORMED = (
    "this is no API key: one is dk_, 12 letters or digits, _, and 43 letters or digits,"
    " as `darkroom keys create` printed it"
)
_LETTERS = string.ascii_letters + string.digits


class InMemoryDarkroom:
    """A Darkroom for the tests of a service, with an account and a key.

    It answers what a service key may do: jobs, waits, events, files, prices, credits. Orders are
    checked, priced, held and charged as by Darkroom. Webhooks are sent and signed. `kie` decides
    what becomes of each job.
    """

    def __init__(
        self,
        *,
        account_id: str = "test",
        credits: Decimal | int = 1_000,
        kie: ScriptedKie | None = None,
        port: int = 0,
    ) -> None:
        """Start it.

        Args:
            account_id: The account that exists from the start.
            credits: What the account has.
            kie: What becomes of jobs. Default: each succeeds at once.
            port: Where it listens on 127.0.0.1. Default: a free one.
        """
        self.kie = kie or ScriptedKie()
        self.account_id = account_id
        self._images: dict[str, bytes] = {}
        self._keys: dict[str, str] = {}
        self._refusals: list[str] = []
        self._lock = threading.Lock()
        self._accounts = Accounts()
        self._jobs = Jobs(self._accounts, self.kie, self._save_image)
        self._webhooks = WebhookSender()
        self._jobs.on_end = self._webhooks.add
        account_routes = AccountRoutes(self._accounts, self._jobs, self._image_url)
        self._routes: Sequence[Route] = (
            *JobRoutes(self._jobs).routes(),
            *account_routes.routes(),
            *WebhookRoutes(self._accounts, self._webhooks).routes(),
        )
        self._server = HttpServer(self._handle, port)
        self.url = self._server.url
        """Where it listens."""
        self.create_account(account_id, credits)
        self.key = self.create_key(account_id)
        """A service key of the account."""

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.close()

    def close(self) -> None:
        """Stop it. Waits and streams end."""
        self._jobs.close()
        self._server.close()
        self._webhooks.close()

    def client(self) -> Darkroom:
        """Return a client with the key of the account."""
        return Darkroom(self.url, self.key, account_id=self.account_id)

    def create_account(self, account_id: str, credits: Decimal | int = 1_000) -> None:
        """Create another account. Raises `ValueError` if it exists."""
        with self._jobs.changed:
            self._accounts.create(account_id, Decimal(credits))

    def create_key(self, account_id: str) -> str:
        """Return a new service key of an account."""
        drawn = "".join(secrets.choice(_LETTERS) for _ in range(55))
        key = f"dk_{drawn[:12]}_{drawn[12:]}"
        self._keys[key] = account_id
        return key

    def set_price(
        self,
        model: str,
        task: str,
        credits: Decimal | int,
        *,
        quantity: int = 1,
        variant: str = "",
    ) -> None:
        """Change a price, or add one."""
        with self._jobs.changed:
            self._accounts.set_price(model, task, quantity, Decimal(credits), variant)

    def webhook_secret(self, url: str, account_id: str | None = None) -> str:
        """Return the secret that signs the webhooks to this URL."""
        return str(self._webhooks.secrets.create(account_id or self.account_id, url)["secret"])

    @property
    def webhooks(self) -> Sequence[SentWebhook]:
        """The webhooks of all ended jobs, with the status of each try."""
        return tuple(self._webhooks.sent)

    def refuse(self, times: int = 1, *, code: str = "postgres_down") -> None:
        """Answer the next requests with this problem, such as `postgres_down` (503)."""
        with self._lock:
            self._refusals += [code] * times

    # --- requests ---------------------------------------------------------------------------

    def _handle(self, request: MemoryRequest) -> MemoryResponse:
        if request.path.startswith(_IMAGES):
            return self._image(request.path.removeprefix(_IMAGES))
        if request.path == "/healthz":
            return MemoryResponse(200, {"status": "ok"})
        with self._lock:
            if self._refusals:
                raise Refusal(self._refusals.pop(0), "the test has asked for this refusal")
        request.account_id = self._account_of(request.headers.get("authorization"))
        for route in self._routes:
            parts = route.match(request)
            if parts is not None and route.method == request.method:
                with self._jobs.changed:  # which a wait gives away while it waits
                    return route.handle(request, *parts)
        if any(route.match(request) is not None for route in self._routes):
            raise Refusal("method_not_allowed", f"{request.path} has other methods", status=405)
        raise Refusal(
            "not_found", f"no route at {request.path}; GET /openapi.json lists what there is"
        )

    def _account_of(self, authorization: str | None) -> str:
        if authorization is None:
            raise Refusal("key_refused", _KEY_MISSING)
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not _KEY.fullmatch(key):
            raise Refusal("key_refused", _KEY_MALFORMED)
        if key not in self._keys:
            raise Refusal("key_refused", "this API key is not known here; ask an operator for one")
        return self._keys[key]

    def _save_image(self, name: str, content: bytes) -> str:
        self._images[name] = content
        return self.url + _IMAGES + name

    def _image_url(self, name: str) -> str:
        """Return a public address, as Kie gives for an uploaded file. It is served by nobody."""
        return f"https://tempfile.redpandaai.co/kieai/{name}"

    def _image(self, name: str) -> MemoryResponse:
        if name not in self._images:
            return MemoryResponse(404, b"")
        return MemoryResponse(200, self._images[name], {"Content-Type": "image/png"})
