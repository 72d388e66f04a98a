"""The list of accounts, and each account: credits, statement by month, lines, CSV."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from urllib.parse import quote

from aiohttp import web

from producer.api.endpoint import RESPONSE_TIMEOUT_SECONDS
from producer.console.page import CONSOLE, PageCall, PageView, Redirect
from producer.money.statements import KINDS, Statement
from producer.orders.field_limits import ACCOUNT_LENGTH
from shared.adapters.http.slow_readers import PacedResponse
from shared.errors import AccountNotFound, Fault, InvalidRequest

PATH = f"{CONSOLE}/accounts"
PAGE_ROWS = 50
_LINES = 100
_ERASURES = 10
_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])", re.ASCII)


async def show_accounts(call: PageCall) -> PageView | Redirect:
    """Show accounts by id, or lead to the one that the form names."""
    wanted = call.query("id")
    is_missing = False
    if wanted is not None:
        try:
            account = await call.billing.account(wanted[:ACCOUNT_LENGTH])
            return Redirect(account_path(account.id))
        except AccountNotFound:
            is_missing = True
    rows = await call.billing.accounts(after=call.query("after"), limit=PAGE_ROWS + 1)
    shown = rows[:PAGE_ROWS]
    values = {
        "accounts": shown,
        "wanted": wanted,
        "is_missing": is_missing,
        "next_after": shown[-1].id if len(rows) > PAGE_ROWS else None,
        "is_first": call.query("after") is None,
    }
    return PageView("money/accounts.html", values)


async def show_account(call: PageCall) -> PageView:
    """Show the credits of an account, its year by month, and the lines of one month."""
    account = await call.billing.account(call.part("id"))
    month = read_month(call.query("month"), call.now)
    year = await call.billing.statement(account.id, *_year_to(month))
    since, until = month_period(month)
    statement = await call.billing.statement(account.id, since, until)
    values = {
        "account": account,
        "kinds": KINDS,
        "months": year.months[::-1],
        "month": f"{month:%Y-%m}",
        "statement": statement,
        "lines": await _newest_lines(call, statement),
        "lines_max": _LINES,
        "erasures": await call.producer.prompt_erasures.of_account(account.id, limit=_ERASURES),
    }
    return PageView("money/account.html", values, title=account.id)


async def download_statement(call: PageCall) -> web.StreamResponse:
    """Return the lines of one month as CSV."""
    month = read_month(call.query("month"), call.now)
    billing = call.billing
    async with asyncio.timeout(RESPONSE_TIMEOUT_SECONDS):
        statement = await billing.statement(call.part("id"), *month_period(month))
        text = await billing.statement_csv(statement)
    name = f"statement-{month:%Y-%m}.csv"
    return PacedResponse(
        text=text,
        content_type="text/csv",
        charset="utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


def account_path(account_id: str) -> str:
    """Return the path of the page of an account."""
    return f"{PATH}/{quote(account_id, safe='')}"


def check_typed_account(call: PageCall, faults: list[Fault]) -> None:
    """Append a fault unless the form has the id of the account of the path, typed by a person."""
    account_id = call.part("id")
    if call.form.get("account") != account_id.strip():
        faults.append(Fault("account", f"type {account_id} to confirm"))


def read_month(text: str | None, now: datetime) -> datetime:
    """Return the start of the month, in UTC; by default of this month."""
    if text is None:
        return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found = _MONTH.fullmatch(text)
    if found is None:
        raise InvalidRequest([Fault("month", f"{text[:40]!r} is not a month, such as 2030-01")])
    return datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)


def month_period(month: datetime) -> tuple[datetime, datetime]:
    """Return the start of a month, and of the month after it."""
    years, index = divmod(month.month, 12)
    return month, month.replace(year=month.year + years, month=index + 1)


def _year_to(month: datetime) -> tuple[datetime, datetime]:
    _, until = month_period(month)
    return until.replace(year=until.year - 1), until


async def _newest_lines(call: PageCall, statement: Statement) -> list[dict[str, object]]:
    """Return the newest lines of a statement, newest first."""
    lines = await call.billing.statement_lines(statement, limit=_LINES, newest_first=True)
    actors = await call.billing.read_entry_actors(
        statement.account_id, [line["id"] for line in lines]
    )
    return [{**line, "granted_by": actors.get(line["id"])} for line in lines]
