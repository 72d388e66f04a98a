"""The secrets that sign webhooks: one for each URL, and one for an account that asked for it."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from darkroom_client.testing.accounts import now_text, time_text
from darkroom_client.testing.problem import Refusal
from darkroom_client.webhooks import SECRET_PREFIX

_OVERLAP = timedelta(days=1)


class WebhookSecrets:
    """Makes, rotates and revokes secrets. A URL is meant without its query; None is the account."""

    def __init__(self) -> None:
        self._by_place: dict[tuple[str, str | None], dict[str, Any]] = {}

    def create(self, account_id: str, url: str | None) -> dict[str, Any]:
        """Return the secret as the API shows it, and make it where there is none."""
        return self._by_place.setdefault(_place(account_id, url), _new(*_place(account_id, url)))

    def show(self, account_id: str, url: str | None) -> dict[str, Any]:
        """Return the secret as the API shows it, or refuse."""
        found = self._by_place.get(_place(account_id, url))
        if found is None:
            raise Refusal("not_found", f"account {account_id!r} has no such webhook secret")
        return found

    def rotate(self, account_id: str, url: str | None) -> dict[str, Any]:
        """Replace the secret. The old one signs as well for a day."""
        old = self.show(account_id, url)
        new = {
            **_new(account_id, old["url"]),
            "created_at": old["created_at"],
            "rotated_at": now_text(),
            "previous_secret_until": time_text(datetime.now(UTC) + _OVERLAP),
            "previous_secret": old["secret"],
        }
        self._by_place[account_id, old["url"]] = new
        return new

    def revoke(self, account_id: str) -> dict[str, Any]:
        """End the secret of the account."""
        self.show(account_id, None)
        return self._by_place.pop((account_id, None))

    def signing(self, account_id: str, url: str) -> list[str]:
        """Return the secrets that sign a message."""
        own = self.create(account_id, url)
        both = (own, self._by_place.get((account_id, None), {}))
        found = (one.get(name) for one in both for name in ("secret", "previous_secret"))
        return [one for one in found if one is not None]


def _place(account_id: str, url: str | None) -> tuple[str, str | None]:
    return account_id, None if url is None else url.partition("?")[0]


def _new(account_id: str, url: str | None) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "url": url,
        "secret": SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode(),
        "created_at": now_text(),
        "rotated_at": None,
        "previous_secret_until": None,
    }
