"""Pauses submits, and ends pauses, for operators. A pause is a row in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from producer.actor import MAX_REASON_LENGTH, Actor, actor_to_json
from producer.jobs.locked_rows import name_locked_row
from producer.list_pages import DEFAULT_LIST_LIMIT, PAGE_BYTES, RowPage, find_limit_faults
from shared.adapters.postgres.database import Database
from shared.adapters.postgres.row_dicts import as_dicts
from shared.adapters.postgres.sqlstates import ACCOUNT_MISSING
from shared.domain.alerts.system_state import describe_pause
from shared.errors import AccountNotFound, DatabaseRefused, Fault, InvalidRequest, NotFound
from shared.job_json import timestamp_to_json
from shared.utc_times import UTC_YEARS, has_utc_time

PauseScope = Literal["everything", "model", "account", "kie_account"]
MAX_PAUSE_SECONDS = 10 * 365 * 24 * 3600
"""The longest `for_seconds`: ten years. A pause without an end lasts until it is resumed."""
# The field of the request that each constraint of the SQL functions is about.
_FIELDS = {
    "pause_scope_must_be_known": "scope",
    "pause_value_must_fit_its_scope": "value",
    "pause_value_must_be_known": "value",
    "pause_reason_must_be_given": "reason",
    "pause_must_end_after_its_start": "until",
}


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of submits."""

    id: int
    scope: PauseScope
    value: str | None
    """The model, the account or the Kie account. None if the scope is `everything`."""
    reason: str
    paused_by: str
    paused_at: datetime
    until: datetime | None
    """When the pause ends by itself. None: only when it is resumed."""
    resumed_at: datetime | None = None
    """When a person ended it, or None."""
    resumed_by: str | None = None
    is_active: bool = True
    """Whether it still applied, by Postgres's clock, when it was read."""

    @property
    def subject(self) -> str:
        """What it applies to, as text."""
        return describe_pause(self.scope, self.value)


class PauseAdmin:
    """Starts, ends and lists pauses. Every method may raise `PostgresDown`.

    While a pause is active, no job to which it applies is submitted. Jobs keep their place in the
    queue, callers may enqueue and cancel, and tasks that are at Kie are polled and settled. A pause
    of a Kie account leaves its share to the other Kie accounts.

    Several pauses may apply to a job. It is submitted when none of them is active.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pause(
        self,
        scope: PauseScope,
        value: str | None = None,
        *,
        reason: str,
        until: datetime | None = None,
        for_seconds: float | None = None,
        actor: Actor | str | None = None,
    ) -> Pause:
        """Pause submits and return the pause. Its end is `until`, or `for_seconds` from now.

        If an active pause has the same scope, value and reason and does not end sooner, it is
        returned instead, so a call can be repeated. Raises `InvalidRequest`, for example for a
        model that does not exist or a time that has passed, and `AccountNotFound`.
        """
        faults = _find_faults(reason, until, for_seconds)
        if faults:
            raise InvalidRequest(faults)
        try:
            with name_locked_row("the table of pauses"):
                row = await self._database.fetch_row(
                    "pause", scope, value, reason, until, for_seconds, actor_to_json(actor)
                )
        except DatabaseRefused as error:
            raise _refusal(error, value) from error
        return _pause_of(dict(row or {}))

    async def resume(self, pause_id: int, *, actor: Actor | str | None = None) -> Pause:
        """End one pause and return it. A pause that has ended is returned as it is.

        Raises `NotFound`.
        """
        with name_locked_row(f"pause {pause_id}"):
            row = await self._database.fetch_row("resume", pause_id, actor_to_json(actor))
        if row is None:
            raise NotFound(f"no pause has the id {pause_id}; see `darkroom queue pauses`")
        return _pause_of(dict(row))

    async def resume_scope(
        self,
        scope: PauseScope,
        value: str | None = None,
        *,
        actor: Actor | str | None = None,
    ) -> list[Pause]:
        """End every active pause of exactly this scope and value, and return them.

        Raises `InvalidRequest` and `AccountNotFound`.
        """
        try:
            with name_locked_row("the table of pauses"):
                rows = await self._database.fetch(
                    "resume_scope", scope, value, actor_to_json(actor)
                )
        except DatabaseRefused as error:
            raise _refusal(error, value) from error
        return [_pause_of(row) for row in as_dicts(rows)]

    async def active(self) -> list[Pause]:
        """Return the active pauses, oldest first."""
        rows = await self._database.fetch("list_active_pauses")
        return [_pause_of(row) for row in as_dicts(rows)]

    async def page(
        self,
        *,
        below: int | None = None,
        limit: int = DEFAULT_LIST_LIMIT,
        is_active: bool | None = None,
    ) -> tuple[list[Pause], int | None]:
        """Return up to `limit` pauses, newest first, and the id to continue below.

        With `is_active`, only those that are active, or only those that have ended. The id is None
        on the last page. The largest limit is 1,000. Raises `InvalidRequest`.
        """
        faults = find_limit_faults(limit)
        if faults:
            raise InvalidRequest(faults)
        rows = await self._database.fetch("list_pauses", below, limit, PAGE_BYTES, is_active)
        page = RowPage.of(as_dicts(rows))
        return [_pause_of(row) for row in page.entries], page.next_below


def pause_to_json(pause: Pause) -> dict[str, Any]:
    """Return the pause as a JSON object."""
    return {
        "id": pause.id,
        "scope": pause.scope,
        "value": pause.value,
        "is_active": pause.is_active,
        "reason": pause.reason,
        "paused_by": pause.paused_by,
        "paused_at": timestamp_to_json(pause.paused_at),
        "until": timestamp_to_json(pause.until),
        "resumed_at": timestamp_to_json(pause.resumed_at),
        "resumed_by": pause.resumed_by,
    }


_PAUSE_FIELDS = frozenset(one.name for one in fields(Pause))


def _pause_of(row: Mapping[str, Any]) -> Pause:
    return Pause(**{name: value for name, value in row.items() if name in _PAUSE_FIELDS})


def _find_faults(reason: str, until: datetime | None, for_seconds: float | None) -> list[Fault]:
    """Return the faults that need no database."""
    faults = []
    if not 1 <= len(reason.strip()) <= MAX_REASON_LENGTH:
        faults.append(
            Fault("reason", f"{reason!r:.80} must be text of 1 to {MAX_REASON_LENGTH} characters")
        )
    if until is not None and for_seconds is not None:
        faults.append(Fault("for_seconds", "is given beside until; give one of them"))
    if until is not None and until.tzinfo is None:
        faults.append(Fault("until", f"{until.isoformat()} has no timezone"))
    elif until is not None and not has_utc_time(until):
        faults.append(Fault("until", f"{until.isoformat()} must be {UTC_YEARS}"))
    if for_seconds is not None and not 1 <= for_seconds <= MAX_PAUSE_SECONDS:
        wanted = f"must be 1 to {MAX_PAUSE_SECONDS}"
        faults.append(Fault("for_seconds", f"{for_seconds:g} {wanted}"))
    return faults


def _refusal(error: DatabaseRefused, value: str | None) -> Exception:
    """Return what a refusal of the SQL functions means."""
    if error.sqlstate == ACCOUNT_MISSING:
        return AccountNotFound(value or "")
    field = _FIELDS.get(error.constraint or "")
    return error if field is None else InvalidRequest([Fault(field, error.message)])
