"""Models of prices, statements and the margin, which only the OpenAPI document uses.

The handlers build their JSON without these models. A test compares both.
"""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel

from producer.api.openapi.response_models import Account
from producer.orders.field_limits import DEFAULT_MODEL

_ID = "019b2f3e-7c1a-7d54-9c3e-2f6d1f0a8b11"
_AT = "2026-01-31T18:04:05.123456Z"
_UUID: dict[str, Any] = {"format": "uuid"}
_KEY = "api:dk_7JqzW3pXk2Lm"


class _OfPrice(BaseModel):
    model: str = Field(examples=[DEFAULT_MODEL])
    task: str = Field(examples=["text-to-image"])
    quantity: int = Field(examples=[2])
    variant: str = Field(description="empty: the price has none", examples=[""])


class PricePreview(_OfPrice):
    """What a change of a price would do."""

    price_id: int = Field(
        description="the version in force; a change that names it is refused once another one is",
        examples=[2],
    )
    credits_before: float = Field(examples=[7])
    credits: float = Field(examples=[9])
    provider_credits_before: float = Field(examples=[7])
    provider_credits: float = Field(examples=[7])
    margin: float = Field(description="credits less provider_credits", examples=[2])
    charge_basis: str = Field(description="the setting CHARGE_BASIS", examples=["current"])
    open_jobs: int = Field(description="open jobs of this price", examples=[12])
    credits_held: float = Field(description="the credits that they hold", examples=[84])
    open_jobs_repriced: int = Field(description="those charged the new price", examples=[12])
    open_jobs_effect: float = Field(description="the total change of their charges", examples=[24])
    jobs_last_7_days: int = Field(examples=[310])
    revenue_last_7_days: float = Field(examples=[2170])
    revenue_effect_per_7_days: float = Field(
        description="what as many jobs would have brought more, or less", examples=[620]
    )
    needs_confirmation: bool = Field(
        description="whether the change needs `confirm`", examples=[False]
    )
    doubts: list[str] = Field(description="why it looks like a typing error", examples=[[]])
    warnings: list[str] = Field(examples=[[]])


class PriceVersion(_OfPrice):
    """A price that holds or held."""

    id: int = Field(examples=[2])
    credits: float = Field(examples=[7])
    provider_credits: float = Field(examples=[7])
    valid_from: AwareDatetime = Field(examples=[_AT])
    valid_to: AwareDatetime | None = Field(description="null: it is in force", examples=[None])
    changed_by: str = Field(examples=[_KEY])
    reason: str | None = Field(examples=["Kie raised it"])


class PriceVersions(BaseModel):
    """Versions of prices, newest first."""

    versions: list[PriceVersion]


class ScheduledPrice(_OfPrice):
    """A change of a price that takes hold at its time."""

    id: int = Field(examples=[3])
    credits: float = Field(examples=[9])
    provider_credits: float | None = Field(description="null: as before", examples=[None])
    takes_effect_at: AwareDatetime = Field(examples=[_AT])
    reason: str = Field(examples=["Kie raises it"])
    scheduled_by: str = Field(examples=[_KEY])
    scheduled_at: AwareDatetime = Field(examples=[_AT])
    is_revoked: bool = Field(examples=[False])
    settled_at: AwareDatetime | None = Field(
        description="when it was applied, revoked or given up; null: it waits", examples=[None]
    )
    settled_by: str | None = Field(examples=[None])
    price_id: int | None = Field(description="the version that it opened", examples=[None])
    failure: str | None = Field(description="why it was given up", examples=[None])


class ScheduledPrices(BaseModel):
    """Scheduled changes: those that wait, the next one first, then settled ones."""

    scheduled_prices: list[ScheduledPrice]


class GrantEntry(BaseModel):
    """The entry of a grant or an adjustment in the ledger."""

    id: int = Field(examples=[4711])
    kind: Literal["grant", "adjustment"] = Field(examples=["grant"])
    credits: float = Field(description="only an adjustment may be negative", examples=[100])
    balance_after: float = Field(examples=[100])
    held_after: float = Field(examples=[0])
    reason: str = Field(examples=["invoice 17"])
    created_at: AwareDatetime = Field(examples=[_AT])


class GrantedAccount(Account):
    """An account as it is now, and the entry of the grant in the ledger."""

    entry: GrantEntry = Field(description="with a used Idempotency-Key: the first entry")


class AccountPage(BaseModel):
    """Accounts, by id."""

    accounts: list[Account]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last")


class PromptErasure(BaseModel):
    """A request to erase the prompts of an account, and how far it has come."""

    id: UUID = Field(
        description="the audit entry cites it",
        examples=["6c1f0f5e-3d0b-4f5e-9a53-0f1f5b7c2d11"],
    )
    account_id: str = Field(examples=["acme"])
    requested_at: AwareDatetime = Field(
        description="jobs that are enqueued later are kept", examples=[_AT]
    )
    jobs: int = Field(description="of how many jobs they are erased", examples=[120])
    waiting: int = Field(
        description="jobs whose prompts are erased later: they are open, or something is still"
        " sent of them",
        examples=[2],
    )
    swept_at: AwareDatetime | None = Field(
        description="when all jobs that had ended were examined; null: workers continue",
        examples=[_AT],
    )
    ended_at: AwareDatetime | None = Field(
        description="when nothing was left to erase; null: workers continue", examples=[None]
    )
    copies_to_delete: int = Field(
        description="copies of images that are sent to nobody any more, and that the next `darkroom"
        " results prune` deletes from the store",
        examples=[0],
    )
    copies_advice: str | None = Field(
        description="what is still in the store, and the command that deletes it; null: nothing is",
        examples=[None],
    )


class PromptErasures(BaseModel):
    """The requests to erase the prompts of an account, newest first."""

    erasures: list[PromptErasure]


class StatementTotals(BaseModel):
    """What each kind of line changed the balance by."""

    grant: float = Field(examples=[100])
    refund: float = Field(examples=[0])
    adjustment: float = Field(examples=[0])
    capture: float = Field(description="negative", examples=[-14])


class StatementMonth(BaseModel):
    """One month of a statement, in UTC."""

    month: str = Field(examples=["2026-01"])
    opening_balance: float = Field(examples=[0])
    closing_balance: float = Field(examples=[86])
    totals: StatementTotals
    lines: int = Field(examples=[3])


class StatementLine(BaseModel):
    """One change of the balance."""

    id: int = Field(description="of the entry in the ledger", examples=[4711])
    created_at: AwareDatetime = Field(examples=[_AT])
    job_id: str | None = Field(json_schema_extra=_UUID, examples=[_ID])
    credits: float = Field(description="the change of the balance", examples=[-7])
    balance_after: float = Field(examples=[93])
    kind: Literal["grant", "refund", "adjustment", "capture"] = Field(examples=["capture"])
    model: str | None = Field(examples=[DEFAULT_MODEL])
    task: str | None = Field(examples=["text-to-image"])
    quantity: int | None = Field(examples=[2])
    variant: str | None = Field(description="empty: the price has none", examples=[""])
    reason: str | None = Field(examples=[None])


class Statement(BaseModel):
    """What changed an account's balance in a period. Holds and releases are not in it."""

    model_config = ConfigDict(populate_by_name=True)

    account_id: str = Field(examples=["acme"])
    since: AwareDatetime = Field(alias="from", examples=[_AT])
    to: AwareDatetime = Field(description="not part of the period", examples=[_AT])
    opening_balance: float = Field(examples=[0])
    closing_balance: float = Field(examples=[86])
    totals: StatementTotals
    lines: int = Field(description="of the whole period", examples=[3])
    months: list[StatementMonth]
    entries: list[StatementLine] = Field(description="one page of the lines, oldest first")
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last")


class StatementCsv(RootModel[str]):
    """The lines of a statement as CSV, with a header. No cell can be run as a formula."""


class MarginRow(BaseModel):
    """One day, model, variant or account."""

    name: str = Field(
        description="of a variant: its model, a space and the variant",
        examples=["2026-01-31", "gpt-image-2 4K"],
    )
    jobs: int = Field(description="that were charged", examples=[310])
    charged: float = Field(description="what accounts were charged", examples=[2170])
    refunded: float = Field(description="the refunded credits", examples=[7])
    provider_credits: float = Field(
        description="what Kie charged, for late images too", examples=[1860]
    )
    uncharged_jobs: int = Field(description="that Kie charged and we did not", examples=[1])
    uncharged_provider_credits: float = Field(examples=[6])
    margin: float = Field(description="charged less refunded and provider_credits", examples=[303])


class Margin(BaseModel):
    """What accounts were charged, less what Kie charged us."""

    model_config = ConfigDict(populate_by_name=True)

    by: Literal["day", "model", "variant", "account"] = Field(examples=["day"])
    since: AwareDatetime = Field(alias="from", examples=[_AT])
    to: AwareDatetime = Field(examples=[_AT])
    margin: list[MarginRow] = Field(
        description="days newest first; the others by margin, the lowest first"
    )


class ComparedPrice(_OfPrice):
    """A price in force beside what Kie says."""

    variant: str = Field(examples=[""])
    credits: float = Field(examples=[7])
    provider_credits: float = Field(description="what we keep as Kie's charge", examples=[6])
    kie_credits: list[float] = Field(
        description="the credits that Kie's price text names", examples=[[6]]
    )
    kie_price_text: str | None = Field(examples=["6 credits per image (~$0.03)"])
    verdict: Literal["agrees", "moved", "unconfirmed", "not_asked"] = Field(
        description="unconfirmed: Kie's text says nothing about it", examples=["agrees"]
    )
    checked_at: AwareDatetime | None = Field(description="when Kie was asked", examples=[_AT])


class ComparedPrices(BaseModel):
    """The prices in force beside what Kie says."""

    prices: list[ComparedPrice]


MONEY_MODELS: tuple[type[BaseModel], ...] = (
    *(PricePreview, PriceVersions, ScheduledPrice, ScheduledPrices, AccountPage),
    *(GrantedAccount, PromptErasure, PromptErasures),
    *(Statement, StatementCsv, Margin, ComparedPrices),
)
"""Pydantic adds the models of their fields."""
