"""The routes of webhook messages and of the secrets that sign them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from darkroom_client.testing.accounts import Accounts
from darkroom_client.testing.checks.field_checks import Fault, shown
from darkroom_client.testing.checks.public_urls import WEBHOOK_HINT, find_url_fault
from darkroom_client.testing.http_server import MemoryRequest, MemoryResponse, Route
from darkroom_client.testing.job_filters import cursor_faults, limit_faults, page_of, parse_query
from darkroom_client.testing.problem import Refusal, invalid_request
from darkroom_client.testing.request_parts import require_account
from darkroom_client.testing.webhooks.webhook_sender import SentWebhook, WebhookSender

_TRIES_MAX = 5
_STATES = ("pending", "delivered", "dead")
_MESSAGE_ID = re.compile("msg_[0-9a-f]{32}")


class WebhookRoutes:
    """Answers requests about webhooks."""

    def __init__(self, accounts: Accounts, sender: WebhookSender) -> None:
        self._accounts, self._sender = accounts, sender

    def routes(self) -> Sequence[Route]:
        """Return every route. The first that matches answers."""
        place = "/v1/accounts/{id}/webhook-secret"
        return (
            Route("GET", "/v1/webhooks", self.list),
            Route("GET", "/v1/webhooks/{id}", self.show),
            Route("POST", "/v1/webhooks/{id}/replay", self.replay),
            Route("GET", place, self.show_secret),
            Route("PUT", place, self.create_secret),
            Route("POST", f"{place}/rotate", self.rotate_secret),
            Route("POST", f"{place}/revoke", self.revoke_secret),
        )

    def list(self, request: MemoryRequest) -> MemoryResponse:
        """List the messages of the account, newest first."""
        allowed = ("account_id", "job_id", "state", "limit", "cursor")
        query = parse_query(request, allowed, _state_faults, limit_faults, _cursor_faults)
        require_account(request, query.get("account_id", request.account_id))
        wanted = {name: query[name] for name in ("job_id", "state") if name in query}
        rows = [_shown(one) for one in reversed(self._own(request))]
        found = [row for row in rows if wanted.items() <= row.items()]
        page, cursor = page_of(found, query, lambda row: str(row["id"]))
        return MemoryResponse(200, {"webhooks": page, "next_cursor": cursor})

    def show(self, request: MemoryRequest, message_id: str) -> MemoryResponse:
        """Show a message with its tries."""
        found = self._find(request, message_id)
        return MemoryResponse(200, {**_shown(found), "history": found.tries})

    def replay(self, request: MemoryRequest, message_id: str) -> MemoryResponse:
        """Send a message again."""
        found = self._find(request, message_id)
        self._sender.replay(found)
        return MemoryResponse(200, _shown(found))

    def show_secret(self, request: MemoryRequest, account_id: str) -> MemoryResponse:
        """Show the secret of the account or of a URL."""
        url = self._url(request, account_id)
        return _secret(self._sender.secrets.show(account_id, url))

    def create_secret(self, request: MemoryRequest, account_id: str) -> MemoryResponse:
        """Make the secret of the account or of a URL, or show it."""
        url = self._url(request, account_id)
        fault = url and find_url_fault(url, allow_loopback=True, hint=WEBHOOK_HINT)
        if fault:
            raise invalid_request([Fault("url", fault)])
        return _secret(self._sender.secrets.create(account_id, url))

    def rotate_secret(self, request: MemoryRequest, account_id: str) -> MemoryResponse:
        """Replace the secret of the account or of a URL."""
        url = self._url(request, account_id)
        return _secret(self._sender.secrets.rotate(account_id, url))

    def revoke_secret(self, request: MemoryRequest, account_id: str) -> MemoryResponse:
        """End the secret of the account."""
        parse_query(request, ())
        self._require(request, account_id)
        ended = self._sender.secrets.revoke(account_id)
        names = ("account_id", "created_at", "rotated_at")
        return MemoryResponse(200, {name: ended[name] for name in names})

    def _own(self, request: MemoryRequest) -> Sequence[SentWebhook]:
        return [
            one
            for one in self._sender.sent
            if one.job is not None and one.job.fields["account_id"] == request.account_id
        ]

    def _find(self, request: MemoryRequest, message_id: str) -> SentWebhook:
        for one in self._own(request):
            if one.id == message_id:
                return one
        raise Refusal("not_found", f"no webhook message has the id {message_id!r}")

    def _require(self, request: MemoryRequest, account_id: str) -> None:
        require_account(request, account_id)
        self._accounts.get(account_id)

    def _url(self, request: MemoryRequest, account_id: str) -> str | None:
        query = parse_query(request, ("url",))
        self._require(request, account_id)
        return query.get("url")


def _secret(found: Mapping[str, Any]) -> MemoryResponse:
    shown = {name: value for name, value in found.items() if name != "previous_secret"}
    return MemoryResponse(200, shown)


def _shown(sent: SentWebhook) -> dict[str, Any]:
    fields = sent.job.fields if sent.job is not None else {}
    tries = sent.tries[: len(sent.tries) - sent.first_try]
    last = tries[0] if tries else {"at": None, "status": None, "error": None}
    is_dead = len(tries) >= _TRIES_MAX and not sent.is_delivered
    return {
        "id": sent.id,
        "job_id": fields["id"],
        "account_id": fields["account_id"],
        "event": f"job.{fields['state']}",
        "state": "delivered" if sent.is_delivered else "dead" if is_dead else "pending",
        "endpoint": sent.url.partition("?")[0],
        "created_at": sent.created_at,
        "tries": len(tries),
        "next_try_at": sent.created_at,
        "retry_until": sent.created_at,
        "last_try_at": last["at"],
        "last_status": last["status"],
        "last_error": last["error"],
        "delivered_at": last["at"] if sent.is_delivered else None,
        "replayed_at": sent.replayed_at,
    }


def _state_faults(query: Mapping[str, str]) -> list[Fault]:
    text = query.get("state")
    if text is None or text in _STATES:
        return []
    return [Fault("state", f"{shown(text)} must be one of {', '.join(_STATES)}")]


def _cursor_faults(query: Mapping[str, str]) -> list[Fault]:
    return cursor_faults(query, _MESSAGE_ID)
