"""Grants credits to accounts, or takes them, once per idempotency key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from producer.accounts.account import Account
from producer.actor import Actor, actor_to_json
from producer.jobs.locked_rows import describe_accounts, name_locked_row
from producer.orders.field_limits import KEY_LENGTH
from producer.row_json import account_to_json, row_to_json
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.sqlstates import ACCOUNT_MISSING
from shared.errors import (
    AccountNotFound,
    DatabaseRefused,
    Fault,
    IdempotencyConflict,
    InvalidRequest,
    RequestRefused,
    WouldLeaveDebt,
)

_NO_DEBT = "an_adjustment_leaves_no_debt"
_ONE_GRANT = "a_key_names_one_grant"
_OF_ENTRY = ("kind", "credits", "balance_after", "held_after", "reason")


class GrantConflict(IdempotencyConflict):
    """The idempotency key was already used for a different grant to the same account."""

    def __init__(self, account_id: str, key: str, sentence: str, differs: Sequence[str]) -> None:
        self.account_id, self.key, self.job_id, self.differs = account_id, key, "", tuple(differs)
        RequestRefused.__init__(self, sentence)


@dataclass(frozen=True, slots=True)
class GrantedAccount(Account):
    """An account after a grant, with the entry that the grant has in the ledger."""

    entry: Mapping[str, Any] = field(default_factory=dict)
    """`id`, `kind`, `credits`, `balance_after`, `held_after`, `reason` and `created_at`."""
    is_replayed: bool = False
    """Whether the idempotency key was used before. Then `entry` is the first one, and nothing was
    changed."""


async def grant_credits(  # what a grant consists of
    database: Database,
    account_id: str,
    credits: Decimal,
    reason: str,
    *,
    allow_debt: bool,
    idempotency_key: str | None,
    actor: Actor | str | None,
) -> GrantedAccount:
    """Add credits to an account, or take them. See `Billing.grant`."""
    _check_key(idempotency_key)
    try:
        with name_locked_row(describe_accounts([account_id])):
            row = await database.fetch_row(
                "grant_to_account",
                account_id,
                credits,
                reason,
                allow_debt,
                actor_to_json(actor),
                idempotency_key,
            )
    except DatabaseRefused as error:
        if error.sqlstate == ACCOUNT_MISSING:
            raise AccountNotFound(account_id) from error
        if error.constraint == _NO_DEBT:
            raise debt_error(error) from error
        if error.constraint == _ONE_GRANT:
            differs = (error.detail or "").split(", ")
            raise GrantConflict(
                account_id, idempotency_key or "", error.message, differs
            ) from error
        raise
    values = dict(row or {})
    is_new = values.pop("is_new")
    entry = {
        "id": values.pop("entry_id"),
        **{name: values.pop(name) for name in _OF_ENTRY},
        "created_at": values.pop("entered_at"),
    }
    return GrantedAccount(**values, entry=entry, is_replayed=not is_new)


def granted_account_to_json(granted: GrantedAccount) -> dict[str, Any]:
    """Return the account object with `entry`, the entry of the ledger."""
    return {**account_to_json(granted), "entry": row_to_json(granted.entry)}


def debt_error(error: DatabaseRefused) -> WouldLeaveDebt:
    """Return the error for credits that an account does not have."""
    advice = "nothing was changed; to allow a debt: --allow-debt, or allow_debt over HTTP"
    return WouldLeaveDebt(f"{error.message}: {advice}")


def _check_key(key: str | None) -> None:
    if key is not None and not (1 <= len(key) <= KEY_LENGTH and key.isprintable()):
        sentence = f"must be 1 to {KEY_LENGTH} printable characters"
        raise InvalidRequest([Fault("idempotency_key", sentence)])
