"""Previews, changes and schedules prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from producer.actor import Actor, actor_to_json
from producer.jobs.locked_rows import name_locked_row
from producer.money.price_key import AnyPriceKey, PriceKey, price_missing
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.row_dicts import as_dicts
from shared.errors import (
    AlreadyExists,
    ConfirmationNeeded,
    DatabaseRefused,
    Fault,
    InvalidRequest,
    PriceChanged,
    PriceMissing,
    ScheduledPriceEnded,
    ScheduledPriceNotFound,
)
from shared.job_json import credits_to_json
from shared.settings import ChargeBasis
from shared.utc_times import UTC_YEARS, has_utc_time

_CONFIRMED = "a_doubtful_price_is_confirmed"
_HAS_ROW = "a_scheduled_price_has_its_row"
_ONE_AT_A_TIME = "scheduled_prices_waiting"
_AS_READ = "a_price_is_changed_from_what_was_read"
_ENDS_ONCE = "a_scheduled_price_ends_once"


@dataclass(frozen=True, slots=True)
class PricePreview:
    """What a change of one price would do if it were made now."""

    key: PriceKey
    price_id: int
    """The version in force, from which the change is previewed."""
    credits_before: Decimal
    credits: Decimal
    provider_credits_before: Decimal
    provider_credits: Decimal
    charge_basis: ChargeBasis
    open_jobs: int
    """Open jobs of this price."""
    credits_held: Decimal
    """What these jobs hold. Holds do not change."""
    open_jobs_repriced: int
    """Open jobs that will be charged the new price instead of their quote."""
    open_jobs_effect: Decimal
    """What these jobs will be charged more, or less if negative, if all of them succeed."""
    jobs_last_7_days: int
    """Jobs that were charged by this price in the last 7 days."""
    revenue_last_7_days: Decimal
    revenue_effect_per_7_days: Decimal
    """What the same number of jobs at the new price would have brought more, or less."""
    doubts: tuple[str, ...]
    """Why the change looks like a typing error. It is then refused unless it is confirmed."""
    warnings: tuple[str, ...]
    """What else an admin should know. The change is made without a confirmation."""

    @property
    def margin(self) -> Decimal:
        """What is left of the new price after Kie's charge, in credits."""
        return self.credits - self.provider_credits

    @property
    def changes_nothing(self) -> bool:
        """Whether the price has these numbers already."""
        return (self.credits, self.provider_credits) == (
            self.credits_before,
            self.provider_credits_before,
        )

    @property
    def needs_confirmation(self) -> bool:
        """Whether the change is refused unless it is confirmed."""
        return bool(self.doubts)


class PriceChanges:
    """Previews, changes and schedules prices. Every method may raise `PostgresDown`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def preview(
        self,
        key: AnyPriceKey,
        credits: Decimal | None,
        provider_credits: Decimal | None = None,
        *,
        charge_basis: ChargeBasis,
    ) -> PricePreview:
        """Return what a change would do. None leaves a number as it is. Raises `PriceMissing`."""
        key = PriceKey(*key)
        row = await self._database.fetch_row("preview_price", *key, credits, provider_credits)
        if row is None:
            raise await self.missing(key)
        return _preview(key, dict(row), charge_basis)

    async def change(
        self,
        key: AnyPriceKey,
        credits: Decimal | None,
        *,
        provider_credits: Decimal | None = None,
        reason: str,
        confirmed: bool = False,
        from_price_id: int | None = None,
        actor: Actor | str | None = None,
    ) -> dict[str, Any]:
        """Change one price and write an audit entry. Return the new row of `pricing`.

        None leaves a number as it is. Raises `PriceMissing`, `DatabaseRefused`,
        `ConfirmationNeeded` if the change looks like a typing error and is not `confirmed`, and
        `PriceChanged` if the version `from_price_id` is not in force any more.
        """
        key = PriceKey(*key)
        try:
            with name_locked_row("price " + "/".join(str(part) for part in key if part != "")):
                row = await self._database.fetch_row(
                    "change_price",
                    *key,
                    credits,
                    provider_credits,
                    reason,
                    confirmed,
                    actor_to_json(actor),
                    from_price_id,
                )
        except DatabaseRefused as error:
            raise _explained(error) from error
        if row is None:
            raise await self.missing(key)
        return dict(row)

    async def schedule(
        self,
        key: AnyPriceKey,
        credits: Decimal,
        *,
        provider_credits: Decimal | None = None,
        at: datetime,
        reason: str,
        confirmed: bool = False,
        actor: Actor | str | None = None,
    ) -> dict[str, Any]:
        """Schedule a change of one price. Return the row of `scheduled_prices`.

        `at` must have a timezone. Raises the errors of `change`, `InvalidRequest` for a time that
        UTC does not have, and `AlreadyExists` if a change of this price at this time waits already.
        """
        key = PriceKey(*key)
        if at.tzinfo is not None and not has_utc_time(at):
            raise InvalidRequest([Fault("at", f"{at.isoformat()} must be {UTC_YEARS}")])
        try:
            row = await self._database.fetch_row(
                "schedule_price",
                *key,
                credits,
                provider_credits,
                at,
                reason,
                confirmed,
                actor_to_json(actor),
            )
        except DatabaseRefused as error:
            if error.constraint == _HAS_ROW:
                raise await self.missing(key) from error
            if error.constraint == _ONE_AT_A_TIME:
                text = f"a change of this price at {at.isoformat()} is scheduled already"
                raise AlreadyExists(text) from error
            raise _explained(error) from error
        return dict(row or {})

    async def unschedule(
        self, scheduled_id: int, *, reason: str | None = None, actor: Actor | str | None = None
    ) -> dict[str, Any]:
        """Revoke a scheduled change before its time, and return its row. May be repeated.

        Raises `ScheduledPriceNotFound`, and `ScheduledPriceEnded` if it was applied.
        """
        try:
            row = await self._database.fetch_row(
                "unschedule_price", scheduled_id, reason, actor_to_json(actor)
            )
        except DatabaseRefused as error:
            if error.constraint == _ENDS_ONCE:
                raise ScheduledPriceEnded(error.message) from error
            raise
        if row is None:
            raise ScheduledPriceNotFound(scheduled_id)
        return dict(row)

    async def list_scheduled(self, *, limit: int, with_settled: bool) -> list[dict[str, Any]]:
        """Return the changes that wait, the next one first, and then settled ones, newest first."""
        return as_dicts(await self._database.fetch("list_scheduled", limit, with_settled))

    async def missing(self, key: PriceKey) -> PriceMissing:
        """Return the error for a price that does not exist, with the list of those that do."""
        return price_missing(key, as_dicts(await self._database.fetch("list_prices")))


def preview_to_json(preview: PricePreview) -> dict[str, Any]:
    """Return a preview as the JSON object of the API and the command line."""
    return {
        **preview.key._asdict(),
        "price_id": preview.price_id,
        "credits_before": credits_to_json(preview.credits_before),
        "credits": credits_to_json(preview.credits),
        "provider_credits_before": credits_to_json(preview.provider_credits_before),
        "provider_credits": credits_to_json(preview.provider_credits),
        "margin": credits_to_json(preview.margin),
        "charge_basis": preview.charge_basis,
        "open_jobs": preview.open_jobs,
        "credits_held": credits_to_json(preview.credits_held),
        "open_jobs_repriced": preview.open_jobs_repriced,
        "open_jobs_effect": credits_to_json(preview.open_jobs_effect),
        "jobs_last_7_days": preview.jobs_last_7_days,
        "revenue_last_7_days": credits_to_json(preview.revenue_last_7_days),
        "revenue_effect_per_7_days": credits_to_json(preview.revenue_effect_per_7_days),
        "needs_confirmation": preview.needs_confirmation,
        "doubts": list(preview.doubts),
        "warnings": list(preview.warnings),
    }


def count_repriced_jobs(basis: ChargeBasis, counts: Mapping[str, Any]) -> int:
    """Return the number of open jobs that will be charged the new price instead of their quote."""
    if basis == "quoted":
        return 0
    return int(counts["open_jobs"] if basis == "current" else counts["quoted_above"])


def _preview(key: PriceKey, row: Mapping[str, Any], basis: ChargeBasis) -> PricePreview:
    credits, cost = row["credits"], row["provider_credits"]
    charged = {
        "current": row["open_jobs"] * credits,
        "quoted": row["credits_held"],
        "lower_of": row["lower_of_both"],
    }[basis]
    warnings = []
    if credits < cost:
        below = f"{credits.normalize():f} is below the {cost.normalize():f}"
        warnings.append(f"the price of {below} that Kie charges")
    if row["next_change_at"] is not None:
        warnings.append(
            f"another change to {row['next_credits'].normalize():f} credits is scheduled for"
            f" {row['next_change_at']:%Y-%m-%d %H:%M:%S}Z"
        )
    return PricePreview(
        key=key,
        price_id=row["price_id"],
        credits_before=row["credits_before"],
        credits=credits,
        provider_credits_before=row["provider_credits_before"],
        provider_credits=cost,
        charge_basis=basis,
        open_jobs=row["open_jobs"],
        credits_held=row["credits_held"],
        open_jobs_repriced=count_repriced_jobs(basis, row),
        open_jobs_effect=charged - row["credits_held"],
        jobs_last_7_days=row["recent_jobs"],
        revenue_last_7_days=row["recent_revenue"],
        revenue_effect_per_7_days=row["recent_jobs"] * credits - row["recent_revenue"],
        doubts=tuple(row["doubts"]),
        warnings=tuple(warnings),
    )


def _explained(error: DatabaseRefused) -> DatabaseRefused | ConfirmationNeeded | PriceChanged:
    if error.constraint == _CONFIRMED:
        return ConfirmationNeeded(error.message)
    if error.constraint == _AS_READ:
        return PriceChanged(error.message)
    return error
