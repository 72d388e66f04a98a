"""The calls about webhook messages and the secrets that sign them, as data."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from darkroom_client.generated.webhook_models import (
    RevokedWebhookSecret,
    WebhookDelivery,
    WebhookSecret,
    WebhookWithTries,
)
from darkroom_client.http.calls import Call, Page, page_query, page_reader
from darkroom_client.json_reader import read_model


def list_webhooks(
    where: dict[str, str], limit: int, cursor: str | None
) -> Call[Page[WebhookDelivery]]:
    """List webhook messages, newest first."""
    query = {**where, **page_query(limit, cursor)}
    return Call("GET", "/v1/webhooks", page_reader("webhooks", WebhookDelivery), query=query)


def get_webhook(message_id: str) -> Call[WebhookWithTries]:
    """Show a message with its tries."""
    path = f"/v1/webhooks/{quote(message_id, safe='')}"
    return Call("GET", path, lambda data: read_model(WebhookWithTries, data))


def replay_webhook(message_id: str) -> Call[WebhookDelivery]:
    """Send a message again."""
    path = f"/v1/webhooks/{quote(message_id, safe='')}/replay"
    return Call("POST", path, lambda data: read_model(WebhookDelivery, data))


def get_secret(account_id: str, url: str | None) -> Call[WebhookSecret]:
    """Show the secret of the account or of a URL."""
    return Call("GET", _secret_path(account_id), _read_secret, query=_url_query(url))


def create_secret(account_id: str, url: str | None) -> Call[WebhookSecret]:
    """Make the secret of the account or of a URL, or show it."""
    return Call("PUT", _secret_path(account_id), _read_secret, query=_url_query(url))


def rotate_secret(account_id: str, url: str | None) -> Call[WebhookSecret]:
    """Replace the secret of the account or of a URL. Not repeated: each time makes another one."""
    path = _secret_path(account_id) + "/rotate"
    return Call("POST", path, _read_secret, query=_url_query(url), is_repeatable=False)


def revoke_secret(account_id: str) -> Call[RevokedWebhookSecret]:
    """End the secret of the account."""
    path = _secret_path(account_id) + "/revoke"
    return Call(
        "POST", path, lambda data: read_model(RevokedWebhookSecret, data), is_repeatable=False
    )


def _secret_path(account_id: str) -> str:
    return f"/v1/accounts/{quote(account_id, safe='')}/webhook-secret"


def _url_query(url: str | None) -> dict[str, str]:
    return {} if url is None else {"url": url}


def _read_secret(data: Any) -> WebhookSecret:
    return read_model(WebhookSecret, data)
