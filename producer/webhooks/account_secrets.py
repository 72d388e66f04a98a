"""The secret of an account, which signs all of its webhooks beside the secrets of its endpoints."""

from __future__ import annotations

from typing import Any

from producer.actor import Actor, actor_to_json
from producer.jobs.locked_rows import name_locked_row
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.sqlstates import FOREIGN_KEY_VIOLATION
from shared.errors import AccountNotFound, DatabaseRefused, NotFound

SECRET_OVERLAP_SECONDS = 24 * 3600
"""How long messages are also signed with the old secret after a rotation."""


class AccountSecrets:
    """Makes, rotates and revokes the secrets of accounts. Every method may raise `PostgresDown`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def show(self, account_id: str) -> dict[str, Any]:
        """Return the `secret` of the account. Raises `NotFound` if it has none."""
        row = await self._database.fetch_row("account_webhook_secret", account_id)
        if row is None:
            raise _no_secret(account_id)
        return dict(row)

    async def create(self, account_id: str, *, actor: Actor | str | None = None) -> dict[str, Any]:
        """Make the `secret` of the account, or return the one that it has.

        Raises `AccountNotFound`.
        """
        try:
            row = await self._database.fetch_row(
                "create_account_webhook_secret", account_id, actor_to_json(actor)
            )
        except DatabaseRefused as error:
            if error.sqlstate == FOREIGN_KEY_VIOLATION:
                raise AccountNotFound(account_id) from error
            raise
        return await self.show(account_id) if row is None else dict(row)

    async def rotate(self, account_id: str, *, actor: Actor | str | None = None) -> dict[str, Any]:
        """Give the account a new secret, and return it.

        For a day, messages are signed with the old secret as well. A second rotation within that
        day ends the first secret immediately. Raises `NotFound`.
        """
        with name_locked_row(f"the webhook secret of account {account_id!r}"):
            row = await self._database.fetch_row(
                "rotate_account_webhook_secret",
                account_id,
                SECRET_OVERLAP_SECONDS,
                actor_to_json(actor),
            )
        if row is None:
            raise _no_secret(account_id)
        return dict(row)

    async def revoke(self, account_id: str, *, actor: Actor | str | None = None) -> dict[str, Any]:
        """End the secret of the account at once, and return when it was made.

        Messages are then signed with the secrets of their endpoints alone. Raises `NotFound`.
        """
        with name_locked_row(f"the webhook secret of account {account_id!r}"):
            row = await self._database.fetch_row(
                "revoke_account_webhook_secret", account_id, actor_to_json(actor)
            )
        if row is None:
            raise _no_secret(account_id)
        return dict(row)


def _no_secret(account_id: str) -> NotFound:
    return NotFound(
        f"account {account_id[:80]!r} has no webhook secret; make one with"
        " `darkroom webhooks secret ACCOUNT --create`"
    )
