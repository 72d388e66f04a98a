"""Accounts, their credits and their ledger, as the API shows them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any

from darkroom_client.testing.problem import Refusal


def now_text() -> str:
    """Return the present time as the API writes it."""
    return time_text(datetime.now(UTC))


def time_text(time: datetime) -> str:
    """Return a time in UTC as the API writes it."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def credits_number(credits: Decimal) -> int | float:
    """Return credits as the API writes them."""
    return int(credits) if credits == credits.to_integral_value() else float(credits)


@dataclass
class MemoryAccount:
    """One account."""

    id: str
    balance: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    created_at: str = field(default_factory=now_text)
    entries: list[dict[str, Any]] = field(default_factory=list)
    """The ledger, oldest first."""

    def to_json(self) -> dict[str, Any]:
        """Return the account object."""
        return {
            "id": self.id,
            "balance": credits_number(self.balance),
            "held": credits_number(self.held),
            "available": credits_number(self.balance - self.held),
            "created_at": self.created_at,
            # A Darkroom in memory has no limits: these are the defaults.
            "weight": 1,
            "max_open_jobs": None,
            "max_queued_jobs": None,
            "max_credits_per_day": None,
            "max_priority": "high",
            "credits_today": credits_number(self._credits_today()),
        }

    def _credits_today(self) -> Decimal:
        """Return what the jobs placed today (UTC) hold or were charged."""
        day = now_text()[: len("2030-01-31")]
        placed = {
            entry["job_id"]
            for entry in self.entries
            if entry["kind"] == "hold" and entry["created_at"].startswith(day)
        }
        signs = {"hold": 1, "release": -1}
        return sum(
            (
                signs.get(entry["kind"], 0) * Decimal(str(entry["credits"]))
                for entry in self.entries
                if entry["job_id"] in placed
            ),
            Decimal(0),
        )


class Accounts:
    """Every account and price. The caller holds the lock of the Darkroom."""

    def __init__(self) -> None:
        self._accounts: dict[str, MemoryAccount] = {}
        self._last_entry = 0
        self.prices = _default_prices()
        """The price rows, as `GET /v1/prices` shows them."""

    def create(self, account_id: str, credits: Decimal) -> None:
        """Create an account with credits. Raises `ValueError` if it exists."""
        if account_id in self._accounts:
            raise ValueError(f"the account {account_id!r} exists already")
        account = self._accounts[account_id] = MemoryAccount(account_id)
        if credits:
            account.balance += credits
            self._enter(account, "grant", credits, None, None, "for the test", "test")

    def get(self, account_id: str) -> MemoryAccount:
        """Return an account, or raise `account_not_found`."""
        if account_id not in self._accounts:
            raise Refusal(
                "account_not_found",
                f"no account has the id {account_id!r}; create it with"
                f" `darkroom accounts create {account_id}`",
            )
        return self._accounts[account_id]

    def price(self, model: str, task: str, quantity: int, variant: str) -> tuple[Decimal, int]:
        """Return the credits of a job and the id of the price, or raise `price_missing`."""
        key = (model, task, quantity, variant)
        for row in self.prices:
            if (row["model"], row["task"], row["quantity"], row["variant"]) == key:
                return Decimal(str(row["credits"])), row["price_id"]
        of_variant = f", variant {variant!r}" if variant else ""
        raise Refusal(
            "price_missing",
            f"no price for model {model!r}, task {task!r}, quantity {quantity}{of_variant};"
            " an admin must insert that row into pricing",
        )

    def set_price(
        self, model: str, task: str, quantity: int, credits: Decimal, variant: str = ""
    ) -> None:
        """Change a price, or add one."""
        row = {"model": model, "task": task, "quantity": quantity, "variant": variant}
        kept = [one for one in self.prices if any(one[name] != row[name] for name in row)]
        new_id = max((one["price_id"] for one in self.prices), default=0) + 1
        number = credits_number(credits)
        priced = {**row, "credits": number, "provider_credits": number}
        told = {"updated_at": now_text(), "updated_by": "test", "price_id": new_id}
        self.prices = sorted([*kept, {**priced, **told}], key=_price_order)

    def hold(self, account_id: str, credits: Decimal, job_id: str, price_id: int) -> None:
        """Hold credits of a job, or raise `insufficient_credits`."""
        account = self.get(account_id)
        self.require(account, credits)
        account.held += credits
        self._enter(account, "hold", credits, job_id, price_id, None, None)

    def require(self, account: MemoryAccount, credits: Decimal) -> None:
        """Raise `insufficient_credits` unless so much is available."""
        available = account.balance - account.held
        if credits > available:
            raise Refusal(
                "insufficient_credits",
                f"account {account.id!r} needs {credits:f} credits but has {available:f} available"
                f" ({account.held:f} held by open jobs); grant more with `darkroom accounts grant`",
                {
                    "account_id": account.id,
                    "needed": credits_number(credits),
                    "available": credits_number(available),
                    "held": credits_number(account.held),
                },
            )

    def capture(self, account_id: str, credits: Decimal, job_id: str, price_id: int) -> None:
        """Charge a job that succeeded."""
        account = self.get(account_id)
        account.held -= credits
        account.balance -= credits
        self._enter(account, "capture", credits, job_id, price_id, None, None)

    def release(
        self, account_id: str, credits: Decimal, job_id: str, price_id: int, reason: str
    ) -> None:
        """Give back what a job held."""
        account = self.get(account_id)
        account.held -= credits
        self._enter(account, "release", credits, job_id, price_id, reason, None)

    def _enter(
        self,
        account: MemoryAccount,
        kind: str,
        credits: Decimal,
        job_id: str | None,
        price_id: int | None,
        reason: str | None,
        granted_by: str | None,
    ) -> None:
        self._last_entry += 1
        account.entries.append(
            {
                "id": self._last_entry,
                "account_id": account.id,
                "job_id": job_id,
                "kind": kind,
                "credits": credits_number(credits),
                "balance_after": credits_number(account.balance),
                "held_after": credits_number(account.held),
                "price_id": price_id,
                "reason": reason,
                "created_at": now_text(),
                "granted_by": granted_by,
            }
        )


def _default_prices() -> list[dict[str, Any]]:
    """Return the prices of a new Darkroom."""
    rows = json.loads(files(__package__).joinpath("default_prices.json").read_text("utf-8"))
    told = {"updated_at": now_text(), "updated_by": "darkroom"}
    named = [
        {
            **dict(zip(("model", "task", "quantity", "variant", "credits"), row, strict=True)),
            "provider_credits": row[4],
            **told,
            "price_id": number,
        }
        for number, row in enumerate(rows, start=1)
    ]
    return sorted(named, key=_price_order)


def _price_order(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["model"], row["task"], row["quantity"], row["variant"])
